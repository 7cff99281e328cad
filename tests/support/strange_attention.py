"""Strange transformers: low-rank branches, several passes and towers, parallel blocks, attention that is not seen."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from support.strange import Attends, Attention, Block, Places, Strange, raster
from support.strange_sequences import Text, naming
from support.strange_tokens import Tokens, reads

ROW, CELLS = reads(17, 0), raster(4, 4, 1)


def vit(block: Callable[[], nn.Module] = Block, depth: int = 2) -> Tokens:
    """A vision transformer with a class token."""
    return Tokens(torch.arange(17), ROW, 1, block=block, depth=depth)


class LowRank(nn.Module):
    """A linear layer with a low-rank branch, as peft writes it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base
        self.lora_dropout = nn.ModuleDict({"default": nn.Dropout(0.1)})
        self.lora_A = nn.ModuleDict({"default": nn.Linear(base.in_features, 2, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(2, base.out_features, bias=False)})

    def forward(self, x: Tensor) -> Tensor:
        result = self.base_layer(x)
        return result + 0.5 * self.lora_B["default"](self.lora_A["default"](self.lora_dropout["default"](x)))


def adapted() -> nn.Module:
    attention = Attention()
    attention.qkv, attention.proj = LowRank(attention.qkv), LowRank(attention.proj)
    return attention


class Ensemble(nn.Module):
    """The mean of the scores of two models. They may share a dropout layer, as the branches of CrossViT do."""

    def __init__(self, shared: bool = False) -> None:
        super().__init__()
        self.models = nn.ModuleList([vit(), vit()])
        self.dropouts = nn.ModuleList([nn.Dropout()] * 2 if shared else [nn.Dropout(), nn.Dropout()])

    def forward(self, images: Tensor) -> Tensor:
        return sum(model(drop(images)) for model, drop in zip(self.models, self.dropouts, strict=True)) / 2


class Twice(nn.Module):
    """The mean of the scores of an image and of its mirror image."""

    def __init__(self) -> None:
        super().__init__()
        self.vit = vit()

    def forward(self, images: Tensor) -> Tensor:
        return (self.vit(images) + self.vit(images.flip(3))) / 2


class Auxiliary(nn.Module):
    """A second transformer runs, but its result is not used for the scores."""

    def __init__(self) -> None:
        super().__init__()
        self.vit, self.auxiliary = vit(), vit(depth=1)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return self.vit(images), self.auxiliary(images)


class Parallel(nn.Module):
    """Two layers of attention of the same tokens, as in timm's parallel blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(16), nn.LayerNorm(16)])
        self.attns = nn.ModuleList([Attention(), Attention()])

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens + torch.stack(
            [attn(norm(tokens)) for attn, norm in zip(self.attns, self.norms, strict=True)]
        ).sum(0)


class Unseen(Attention):
    """Attention that no softmax and no known function computes."""

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        logits = q @ k.mT / q.shape[-1] ** 0.5
        return (logits - logits.logsumexp(-1, keepdim=True)).exp() @ v


class OneUnseen(Tokens):
    """The second of three layers of attention is not seen."""

    def __init__(self) -> None:
        super().__init__(torch.arange(17), ROW, 1, depth=3)
        self.blocks[1] = Block(attention=Unseen)


class ZeroShot(nn.Module):
    """The similarity of a vision transformer's embedding to that of prompts."""

    def __init__(self) -> None:
        super().__init__()
        self.vision, self.text = vit(), Text()
        self.vision.head = nn.Linear(16, 16)

    def forward(self, images: Tensor, ids: Tensor) -> Tensor:
        return F.normalize(self.vision(images), dim=-1) @ F.normalize(self.text(ids), dim=-1).mT


class TextFirst(ZeroShot):
    """The same, and the text tower runs first."""

    def forward(self, images: Tensor, ids: Tensor) -> Tensor:
        text = F.normalize(self.text(ids), dim=-1)
        return F.normalize(self.vision(images), dim=-1) @ text.mT


def last(block: str, *others: str) -> dict[str, Places]:
    return dict.fromkeys((block, *others), Places(CELLS))


def attends(*stages: tuple[int, ...]) -> Attends:
    return Attends(stages, ROW, CELLS)


PATH = attends((0,), (1,))

ATTENTION: dict[str, Strange] = {
    "low-rank branches": Strange(
        lambda: vit(lambda: Block(attention=adapted)), last("blocks.1.norm1", "blocks.0"), rollout=PATH
    ),
    "zero-shot transformer": Strange(
        ZeroShot, last("vision.blocks.1.norm1", "vision.blocks.0"), forward=naming, rollout=PATH
    ),
    "zero-shot transformer, text first": Strange(
        TextFirst, last("vision.blocks.1.norm1", "vision.blocks.0"), forward=naming, rollout=attends((2,), (3,))
    ),
    "ensemble": Strange(
        Ensemble, refused="every path",
        rollout="attention",
        either=True,
    ),
    "ensemble with a shared layer": Strange(
        lambda: Ensemble(shared=True), refused="every path", rollout="attention", either=True,
    ),
    "two passes": Strange(
        Twice, {f"vit.blocks.{layer}@1": Places(raster(4, 4, 1).flip(1)) for layer in ("0", "1.norm1")},
        rollout="attention",
    ),
    "auxiliary branch": Strange(
        Auxiliary, last("vit.blocks.1.norm1", "vit.blocks.0"), rollout=PATH,
        forward=lambda model, images: model(images)[0],
    ),
    "parallel blocks": Strange(
        lambda: vit(Parallel), last("blocks.0"), rollout=attends((0, 1), (2, 3)),
    ),
    "one layer not seen": Strange(OneUnseen, last("blocks.2.norm1", "blocks.1"), rollout="attention"),
    "no layer seen": Strange(
        lambda: vit(lambda: Block(attention=Unseen)), last("blocks.1.norm1", "blocks.0"), rollout="attention"
    ),
}  # fmt: skip
