"""Strange sequences of patch tokens: other tokens before, between and after them, and patches in another order."""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from support.strange import Attends, Block, Cells, Places, Strange, raster


class Tokens(nn.Module):
    """A vision transformer with extra tokens. `order` arranges the sequence of the extra tokens and then the patches.

    The head reads the tokens with the weights `row`.
    """

    def __init__(
        self,
        order: Tensor,
        row: Tensor,
        extra: int = 0,
        patch: int = 8,
        block: Callable[[], nn.Module] = Block,
        depth: int = 2,
    ) -> None:
        super().__init__()
        self.register_buffer("order", order.clone())
        self.register_buffer("row", row.clone())
        self.patches = nn.Conv2d(3, 16, patch, patch)
        self.extra = nn.Parameter(torch.randn(1, extra, 16))
        self.positions = nn.Parameter(0.2 * torch.randn(1, len(order), 16))
        self.blocks = nn.ModuleList(block() for _ in range(depth))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).mT
        tokens = torch.cat([self.extra.expand(len(images), -1, -1), patches], 1)[:, self.order] + self.positions
        for number, block in enumerate(self.blocks):
            tokens = block(self.between(tokens) if number else tokens)
        return self.head(self.row @ self.norm(tokens))

    def between(self, tokens: Tensor) -> Tensor:
        """What happens to the tokens between the blocks."""
        return tokens


class Kept(Tokens):
    """Drops the tokens that are not in `kept` after the first block."""

    def __init__(self, kept: Tensor, row: Tensor) -> None:
        super().__init__(torch.arange(17), row, 1)
        self.register_buffer("kept", kept.clone())

    def between(self, tokens: Tensor) -> Tensor:
        return tokens[:, self.kept]


class Merged(Tokens):
    """Averages 2x2 patches after the first block, and keeps the class token."""

    def __init__(self) -> None:
        super().__init__(torch.arange(65), reads(17, 0), 1, 4)

    def between(self, tokens: Tensor) -> Tensor:
        merged = F.avg_pool2d(tokens[:, 1:].mT.unflatten(2, (8, 8)), 2).flatten(2).mT
        return torch.cat([tokens[:, :1], merged], 1)


class Shared(Tokens):
    """Runs one block three times."""

    def __init__(self, row: Tensor) -> None:
        super().__init__(torch.arange(17), row, 1)
        self.blocks = nn.ModuleList([self.blocks[0]] * 3)


class Windowed(nn.Module):
    """Attention in windows of 2x2 patches. Its last tokens are partitioned into windows [4B,4,C]."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 16, 8, 8), nn.LayerNorm(16)
        self.block, self.head = Block(), nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.norm(self.patches(images).permute(0, 2, 3, 1))
        x = x.unflatten(2, (2, 2)).unflatten(1, (2, 2)).transpose(2, 3).flatten(0, 2).flatten(1, 2)
        return self.head(self.block(x).unflatten(0, (-1, 4)).mean((1, 2)))


class TokensFirst(Tokens):
    """Tokens [N,B,C] in all blocks."""

    def __init__(self, row: Tensor) -> None:
        super().__init__(torch.arange(17), row, 1, block=lambda: nn.TransformerEncoderLayer(16, 2, 32, 0.0))

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patches(images).flatten(2).permute(2, 0, 1)
        tokens = torch.cat([self.extra.expand(len(images), -1, -1).transpose(0, 1), patches])
        tokens = tokens + self.positions.transpose(0, 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(torch.einsum("n,nbc->bc", self.row, self.norm(tokens)))


def reads(count: int, *tokens: int) -> Tensor:
    """Equal weights for some of the tokens, or for all."""
    return torch.ones(count) / count if not tokens else F.one_hot(torch.tensor(tokens), count).float().mean(0)


def held(order: Tensor, extra: int, grid: tuple[int, int]) -> Cells:
    """The position of each patch in the order, or -1 if it is missing."""
    where = torch.full((extra + math.prod(grid),), -1)
    where[order] = torch.arange(len(order))
    return where[extra:].view(grid)


def tokens(
    order: Sequence[int],
    row: Tensor | None = None,
    extra: int = 1,
    grid: tuple[int, int] = (4, 4),
    make: Callable[..., nn.Module] = Tokens,
) -> Strange:
    """A model with tokens in an order. By default, its head reads the first extra token."""
    arranged = torch.tensor(order)
    row = reads(len(order), order.index(0)) if row is None else row
    cells = held(arranged, extra, grid)
    layers = ["norm", "blocks.1"] if row[cells].any() else ["blocks.1.norm1", "blocks.0"]
    return Strange(
        lambda: make(arranged, row, extra),
        dict.fromkeys(layers, Places(cells)),
        size=(8 * grid[0], 8 * grid[1]),
        rollout=Attends(((0,), (1,)), row, cells),
    )


def patches(extra: int, grid: tuple[int, int] = (4, 4)) -> list[int]:
    """The patches in reading order after some extra tokens."""
    return list(range(extra, extra + math.prod(grid)))


def columns(extra: int, grid: tuple[int, int] = (4, 4)) -> list[int]:
    """The patches column by column."""
    return raster(*grid, extra).mT.flatten().tolist()


def windows(extra: int) -> list[int]:
    """4x4 patches in windows of 2x2."""
    return raster(4, 4, extra).view(2, 2, 2, 2).transpose(1, 2).flatten().tolist()


P = patches(1)
KEPT = torch.tensor([0, *(i for i in range(1, 17) if i not in (1, 4, 13, 16))])
FIRST = reads(17, 0)
BOTH = dict.fromkeys(("blocks.1.norm1", "blocks.0"), Places(raster(4, 4, 1)))

TOKENS: dict[str, Strange] = {
    "class token": tokens([0, *P]),
    "class token last": tokens([*P, 0]),
    "class token at index 4": tokens([*P[:4], 0, *P[4:]]),
    "mean of all tokens": tokens([0, *P], reads(17)),
    "class token plus mean": tokens([0, *P], reads(17, 0) / 2 + reads(17, *range(1, 17)) / 2),
    "no class token": tokens(patches(0), reads(16), 0),
    "registers before": tokens([0, 1, 2, 3, 4, *patches(5)], extra=5),
    "registers after": tokens([0, *patches(5), 1, 2, 3, 4], extra=5),
    "registers after, mean over patches": tokens([*patches(4), 0, 1, 2, 3], reads(20, *range(16)), 4),
    "registers in the middle": tokens([0, *patches(3)[:8], 1, 2, *patches(3)[8:]], extra=3),
    "prefix, middle and suffix": tokens([3, 0, *patches(4)[:6], 1, *patches(4)[6:], 2], extra=4),
    "a row of registers before": tokens([0, 1, 2, 3, *patches(4)], reads(20, *range(4, 20)), 4),
    "detection tokens": tokens([0, *patches(6), 1, 2, 3, 4, 5], reads(22, *range(17, 22)), 6),
    "distillation token": tokens([0, 1, *patches(2)], reads(18, 0, 1), 2),
    "not square, 25 tokens": tokens([0, *patches(1, (4, 6))], grid=(4, 6)),
    "not square, 36 tokens": tokens([0, 1, 2, 3, *patches(4, (4, 8))], extra=4, grid=(4, 8)),
    "not square, registers after": tokens([0, *patches(4, (3, 4)), 1, 2, 3], extra=4, grid=(3, 4)),
    "columns": tokens([0, *columns(1)]),
    "columns, not square": tokens([0, *columns(1, (4, 6))], grid=(4, 6)),
    "columns, mean": tokens(columns(0), reads(16), 0),
    "flipped": tokens([0, *P[::-1]]),
    "flipped, mean": tokens(patches(0)[::-1], reads(16), 0),
    "windows": tokens([0, *windows(1)]),
    "windows, mean": tokens(windows(0), reads(16), 0),
    "shuffled": tokens([0, *(1 + (5 * i + 3) % 16 for i in range(16))]),
    "tokens first": Strange(
        lambda: TokensFirst(reads(17, 0)),
        dict.fromkeys(("blocks.0", "blocks.0.norm2"), Places(raster(4, 4, 1), "LNC")),
        rollout=Attends(((0,), (1,)), reads(17, 0), raster(4, 4, 1)),
    ),
    "tokens first, mean": Strange(
        lambda: TokensFirst(reads(17)),
        dict.fromkeys(("norm", "blocks.1", "blocks.1.norm2"), Places(raster(4, 4, 1), "LNC")),
        rollout=Attends(((0,), (1,)), reads(17), raster(4, 4, 1)),
    ),
    "shared block": Strange(
        lambda: Shared(reads(17, 0)),
        dict.fromkeys(("blocks.0.norm1@2", "blocks.0@1"), Places(raster(4, 4, 1))),
        rollout=Attends(((0,), (1,), (2,)), reads(17, 0), raster(4, 4, 1)),
    ),
    "shared block, mean": Strange(
        lambda: Shared(reads(17)),
        dict.fromkeys(("norm", "blocks.0@2"), Places(raster(4, 4, 1))),
        rollout=Attends(((0,), (1,), (2,)), reads(17), raster(4, 4, 1)),
    ),
    "partitioned windows": Strange(
        Windowed,
        {"norm": Places(raster(4, 4), "NHWC"), "patches": Places(raster(4, 4), "NCHW")},
        rollout="windows|feature map",
    ),
    "dropped tokens": Strange(
        lambda: Kept(KEPT, reads(13, 0)),
        {"blocks.0": Places(raster(4, 4, 1)), "blocks.1.norm1": Places(held(KEPT, 1, (4, 4)))},
        rollout="tokens",
    ),
    "dropped tokens, mean": Strange(
        lambda: Kept(KEPT, reads(13)),
        {
            "blocks.0": Places(raster(4, 4, 1)),
            **dict.fromkeys(("norm", "blocks.1"), Places(held(KEPT, 1, (4, 4)))),
        },
        rollout="tokens",
    ),
    "merged tokens": Strange(
        Merged,
        {"blocks.0": Places(raster(8, 8, 1)), "blocks.1.norm1": Places(raster(4, 4, 1))},
        rollout="tokens",
    ),
}  # fmt: skip
