"""What the collection of strange models declares: a small model, and what is right for it, known from its design."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xai_core as xai
from support.seeding import seed

Forward = Callable[[nn.Module, Tensor], Any]
Cells = Tensor
"""For each cell [h,w] of a map, the index of the element that holds it, or -1."""


@dataclass(frozen=True)
class Places:
    """Where the cells of a map are in a tensor with layout NCHW, NHWC, NLC or LNC."""

    cells: Cells
    layout: str = "NLC"

    def elements(self, tensor: Tensor) -> Tensor:
        """[B,N,K], a view of a contiguous tensor."""
        match self.layout:
            case "NLC":
                return tensor
            case "LNC":
                return tensor.transpose(0, 1)
            case "NHWC":
                return tensor.flatten(1, 2)
            case _:
                return tensor.flatten(2).mT

    def maps(self, tensor: Tensor) -> Tensor:
        """[B,K,h,w], zero in cells that no element holds."""
        held = self.elements(tensor)[:, self.cells.flatten().clamp(min=0)].mT.unflatten(2, self.cells.shape)
        return held * (self.cells >= 0)


@dataclass(frozen=True)
class Attends:
    """The attention between the images and the scores, by the order of the calls in a forward pass.

    The matrices of one stage read the same tokens, and their results are added. The head reads the tokens with the
    weights `row`, and `cells` places the tokens.
    """

    stages: Sequence[Sequence[int]]
    row: Tensor
    cells: Cells


@dataclass(frozen=True)
class Strange:
    """A small model, and what is right for it.

    `layers` are the possible default layers. A name that ends in `@N` is call number N of a module. If `refused` is
    given, the model has none, and this pattern is found in the error. `target` is a class or a function of the output.
    If `rollout` is a pattern, methods that chain attention are refused. If it is `Attends`, this is what they chain.
    With `either`, an error is right too, but a layer that the user names must be read.
    """

    make: Callable[[], nn.Module]
    layers: Mapping[str, Places] = field(default_factory=dict)
    refused: str = ""
    size: tuple[int, int] = (32, 32)
    forward: Forward = lambda model, images: model(images)
    target: int | Callable[[Any], Tensor] = 1
    rollout: Attends | str | None = None
    either: bool = False

    def build(self) -> nn.Module:
        """The same model at every call, in evaluation mode."""
        with torch.random.fork_rng():
            seed()
            return calibrated(self.make(), self.forward, self.size)

    def engine(self) -> xai.Engine:
        return xai.Engine(self.build(), forward=self.forward)

    def images(self, count: int = 2) -> Tensor:
        return torch.randn(count, 3, *self.size, generator=torch.Generator().manual_seed(1))

    def score(self, output: Any) -> Tensor:
        """The scores [B] of the target."""
        if callable(self.target):
            return self.target(output)
        return getattr(output, "logits", output)[:, self.target]


def calibrated(model: nn.Module, forward: Forward, size: tuple[int, int]) -> nn.Module:
    """Set norm weights to one and batch-norm statistics to those of some images, so that images reach deep layers."""
    model.eval()
    for module in model.modules():
        if "norm" in type(module).__name__.lower() and isinstance(getattr(module, "weight", None), Tensor):
            nn.init.ones_(module.weight)
        if isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            module.momentum = None
            module.train()
    if any(module.training for module in model.modules()):
        with torch.no_grad():
            for seed in range(3):
                forward(model, torch.randn(8, 3, *size, generator=torch.Generator().manual_seed(seed)))
    return model.eval()


def raster(h: int, w: int, prefix: int = 0) -> Cells:
    """Cells in reading order after `prefix` other elements."""
    return torch.arange(prefix, prefix + h * w).view(h, w)


def maps(h: int = 4, w: int = 4) -> Places:
    """A feature map [B,C,h,w]."""
    return Places(raster(h, w), "NCHW")


class Attention(nn.Module):
    """Self-attention with a fused kernel, as timm writes it."""

    def __init__(self, dim: int = 16, heads: int = 2) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(self.mix(q, k, v).transpose(1, 2).flatten(2))

    def mix(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(q, k, v)


class Block(nn.Module):
    """Attention and an MLP, each after a norm and around a residual connection."""

    def __init__(self, dim: int = 16, attention: Callable[[], nn.Module] = Attention) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim), attention()
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


def stage(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A convolution with batch norm and an activation in place."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3 if stride == 1 else stride, stride, int(stride == 1)),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )
