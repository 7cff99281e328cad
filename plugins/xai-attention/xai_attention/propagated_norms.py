"""Normalizations whose denominator has no gradient, for layer-wise relevance propagation."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor


def layer_norm(
    inputs: Float[Tensor, "*shape"],
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Float[Tensor, "*shape"]:
    """Compute `F.layer_norm` with a constant standard deviation."""
    dims = tuple(range(-len(normalized_shape), 0))
    centered = inputs - inputs.mean(dims, keepdim=True)
    return _affine(centered * (centered.square().mean(dims, keepdim=True) + eps).rsqrt().detach(), weight, bias)


def group_norm(
    inputs: Float[Tensor, "B C *grid"],
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Float[Tensor, "B C *grid"]:
    """Compute `F.group_norm` with constant standard deviations."""
    grouped = inputs.unflatten(1, (num_groups, -1))
    normalized = layer_norm(grouped, grouped.shape[2:], eps=eps).view_as(inputs)
    per_channel = [None if each is None else each.view(-1, *[1] * (inputs.ndim - 2)) for each in (weight, bias)]
    return _affine(normalized, *per_channel)


def rms_norm(
    inputs: Float[Tensor, "*shape"],
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Float[Tensor, "*shape"]:
    """Compute `F.rms_norm` with a constant root mean square."""
    dims = tuple(range(-len(normalized_shape), 0))
    eps = torch.finfo(inputs.dtype).eps if eps is None else eps
    return _affine(inputs * (inputs.square().mean(dims, keepdim=True) + eps).rsqrt().detach(), weight, None)


def cosine_similarity(
    first: Float[Tensor, "*#shape"], second: Float[Tensor, "*#shape"], dim: int = 1, eps: float = 1e-8
) -> Tensor:
    """Compute `F.cosine_similarity` with constant norms. If both vectors depend on the image, each has half."""
    norms = (first.norm(dim=dim) * second.norm(dim=dim)).clamp_min(eps).detach()
    similarity = (first * second).sum(dim) / norms
    both = first.requires_grad and second.requires_grad
    return similarity.detach() + (similarity - similarity.detach()) / 2 if both else similarity


def _affine(inputs: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    scaled = inputs if weight is None else inputs * weight
    return scaled if bias is None else scaled + bias


NORMALIZATIONS: dict[str, Callable[..., Tensor]] = {
    each.__name__: each for each in (layer_norm, group_norm, rms_norm, cosine_similarity)
}
"""The normalizations by the names of PyTorch's functions."""
