"""Attention with explicit (non-fused) matrices in float64, whose gradients come from autograd."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from support.attention_models import CASES, Encoder
from support.attention_references import read_row
from support.models import fused_vit, settled, torchvision_vit

MODELS: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
    # model, prefix tokens, what the head reads
    "timm": (fused_vit, 1, "class"),
    "timm mean over patches": (lambda: fused_vit(global_pool="avg"), 1, "patches"),
    "torchvision": (torchvision_vit, 1, "class"),
    "nn.TransformerEncoder, tokens first": (lambda: Encoder(False, False), 1, "class"),
    "nn.TransformerEncoder, mean": (lambda: Encoder(True, False, mean=True), 1, "all"),
    **{
        name: (CASES[name][0], *CASES[name][3:])
        for name in CASES
        if name.startswith(("hugging face", "vit-pytorch", "simple vit", "cifar-vit"))
    },
}


class Plain:
    """Attention as it is written in books, with whole matrices that keep their gradients."""

    def __init__(self) -> None:
        self.matrices: list[Tensor] = []

    def keep(self, matrix: Tensor) -> Tensor:
        matrix.retain_grad()
        self.matrices.append(matrix)
        return matrix

    def scaled_dot_product(self, q: Tensor, k: Tensor, v: Tensor, *_: Any, scale: Any = None, **__: Any) -> Tensor:
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        return self.keep((scale * q @ k.mT).softmax(-1)) @ v

    def multi_head(
        self, q: Tensor, k: Tensor, v: Tensor, size: int, heads: int, weight: Tensor, bias: Tensor, *rest: Any, **_: Any
    ) -> tuple[Tensor, None]:
        out_weight, out_bias = rest[4:6]
        q, k, v = (
            F.linear(tokens, w, b).unflatten(-1, (heads, -1)).permute(1, 2, 0, 3)
            for tokens, w, b in zip((q, k, v), weight.chunk(3), bias.chunk(3), strict=True)
        )
        mixed = self.keep((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)) @ v
        return F.linear(mixed.permute(2, 0, 1, 3).flatten(2), out_weight, out_bias), None


def eager(
    model: nn.Module, images: Tensor, watched: Sequence[str] = (), residual: bool = False
) -> tuple[Any, Any, list[Tensor], list[Tensor]]:
    """A copy of the model in float64 and with plain attention: it, its output, its matrices, outputs of layers.

    With `residual`, what the model adds to these outputs by itself is added, the layers' input.
    """
    model = copy.deepcopy(model).double()
    if hasattr(model, "set_attn_implementation"):
        model.set_attn_implementation("eager")
    for layer in model.modules():
        if isinstance(layer, nn.TransformerEncoderLayer | nn.MultiheadAttention):
            layer.train()  # off its fast path; dropout is zero in these models
    book = Plain()
    softmax = F.softmax
    seen: list[Tensor] = []

    def see(_: nn.Module, given: Any, output: Any) -> Any:
        seen.append(output + given[0] if residual else output)
        return output.clone()  # the rest may write to it

    for name in watched:
        model.get_submodule(name).register_forward_hook(see)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(F, "scaled_dot_product_attention", book.scaled_dot_product)
        patch.setattr(F, "multi_head_attention_forward", book.multi_head)
        patch.setattr(F, "softmax", lambda scores, dim, **_: book.keep(softmax(scores, dim)))
        output = model(images.double())
    return model, output, book.matrices, seen


def plain(model: nn.Module, images: Tensor, targets: Sequence[int]) -> tuple[list[Tensor], list[list[Tensor]]]:
    """Each layer's matrix [B,heads,N,N], and its gradient for each target, in float64 and from autograd."""
    _, output, matrices, _ = eager(model, images)
    scores = getattr(output, "logits", output)
    gradients = [list(torch.autograd.grad(scores[:, target].sum(), matrices, retain_graph=True)) for target in targets]
    return [matrix.detach() for matrix in matrices], gradients


def case(name: str) -> tuple[nn.Module, Tensor, int, Tensor]:
    make, prefix, reads = MODELS[name]
    return settled(make()), torch.randn(2, 3, 32, 32), prefix, read_row(reads, prefix + 16, prefix)
