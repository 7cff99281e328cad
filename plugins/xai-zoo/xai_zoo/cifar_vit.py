"""A small vision transformer for images of 32x32 pixels."""

import itertools
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

import xai_core as xai
from xai_core.plugin import ModelSource, OptionError, Value, check_choice, check_integer, check_number
from xai_zoo.reference import check_no_name, loaded

_MEAN = _STD = (0.5,) * 3


class Block(nn.Module):
    """A pre-norm transformer block on `nn.MultiheadAttention`."""

    def __init__(self, dim: int, heads: int, mlp: int, dropout: float) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, dropout, batch_first=True)
        self.mlp = nn.Sequential(
            nn.Linear(dim, mlp), nn.GELU(), nn.Dropout(dropout), nn.Linear(mlp, dim), nn.Dropout(dropout)
        )

    def forward(self, x: Float[Tensor, "B N D"]) -> Float[Tensor, "B N D"]:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


def convolutions(dim: int, patch: int) -> nn.Sequential:
    """Return overlapping patches: 3x3 convolutions that halve the image until each cell is a patch.

    Source: Xiao et al., "Early Convolutions Help Transformers See Better", NeurIPS 2021, section 4.
    """
    halvings = patch.bit_length() - 1
    channels = [3, *(dim // 2**number for number in reversed(range(halvings)))]
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, 3, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(dim, dim, 1))


class CifarViT(nn.Module):
    """A ViT (Dosovitskiy et al., 2021) with learned position embeddings: [B,3,S,S] -> [B,classes].

    The classification head reads a class token. With `pool="mean"` or `pool="max"`, there is no class token, and the
    head reads the mean or maximum of each feature over the patches.
    """

    def __init__(
        self,
        size: int = 32,
        patch: int = 4,
        dim: int = 256,
        heads: int = 8,
        depth: int = 6,
        mlp: int = 512,
        dropout: float = 0.2,
        num_classes: int = 10,
        stem: str = "patches",
        pool: str = "class",
    ) -> None:
        super().__init__()
        self.pool, prefix = pool, int(pool == "class")
        self.patches = nn.Conv2d(3, dim, patch, patch) if stem == "patches" else convolutions(dim, patch)
        self.class_token = nn.Parameter(torch.zeros(1, prefix, dim))
        tokens = prefix + (size // patch) ** 2
        self.positions = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, tokens, dim), std=0.02))
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(dim, heads, mlp, dropout) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, images: Float[Tensor, "B 3 S S"]) -> Float[Tensor, "B classes"]:
        patches = self.patches(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(patches), -1, -1), patches], 1)
        tokens = self.norm(self.blocks(self.dropout(tokens + self.positions)))
        match self.pool:
            case "mean":
                return self.head(tokens.mean(1))
            case "max":
                return self.head(tokens.amax(1))
        return self.head(tokens[:, 0])


class CifarViTSource(ModelSource):
    """A small vision transformer: `cifar-vit`, `cifar-vit:size=64,patch=8,dim=128,num_classes=10`.

    Options with their defaults: image `size` (32), `patch` (4), `dim` (256), `heads` (8), `depth` (6), `dropout` (0.2),
    `num_classes` (10), `stem` (`patches`), `pool` (`class`), `weights` (random). `mlp` is twice `dim` by default.
    `stem=convolutions` requires that `patch` is a power of two. `pool` is `class`, `mean` or `max`.
    """

    name = "cifar-vit"

    def load(  # type: ignore[override] # the registry rejects other options
        self,
        name: str | None,
        size: int = 32,
        patch: int = 4,
        dim: int = 256,
        heads: int = 8,
        depth: int = 6,
        mlp: int | None = None,
        dropout: float = 0.2,
        num_classes: int = 10,
        stem: str = "patches",
        pool: str = "class",
        weights: Value | Path = None,
    ) -> xai.LoadedModel:
        check_no_name(self.name, name)
        check_integer("size", size, 1)
        check_integer("patch", patch, 1)
        check_integer("dim", dim, 1)
        check_integer("heads", heads, 1)
        check_integer("depth", depth, 1)
        check_integer("num_classes", num_classes, 1)
        mlp = 2 * dim if mlp is None else mlp
        check_integer("mlp", mlp, 1)
        check_number("dropout", dropout, minimum=0, below=1)
        check_choice("stem", stem, ("patches", "convolutions"))
        check_choice("pool", pool, ("class", "mean", "max"))
        if size % patch:
            raise OptionError(f"size must be a multiple of patch, got size={size} and patch={patch}")
        if dim % heads:
            raise OptionError(f"dim must be a multiple of heads, got dim={dim} and heads={heads}")
        if stem == "convolutions" and (patch < 2 or patch & (patch - 1) or dim % (patch // 2)):
            raise OptionError(
                "for stem=convolutions, patch must be a power of two and dim must be a multiple of patch / 2, got "
                f"patch={patch} and dim={dim}"
            )
        model = CifarViT(size, patch, dim, heads, depth, mlp, dropout, num_classes, stem, pool)
        options = {"size": size, "patch": patch, "dim": dim, "heads": heads, "depth": depth, "mlp": mlp}
        return loaded(
            model,
            (self.name, {**options, "dropout": dropout, "num_classes": num_classes, "stem": stem, "pool": pool}),
            weights,
            size,
            _MEAN,
            _STD,
        )
