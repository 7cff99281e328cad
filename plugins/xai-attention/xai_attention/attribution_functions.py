"""Functions whose gradients are those of transformer attribution."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

ROW_BLOCK = 128
"""The number of attention rows that are computed at a time."""


def linearized(
    inputs: Float[Tensor, "*#shape"], output: Float[Tensor, "*shape"], slope: Float[Tensor, "*#shape"] | float
) -> Float[Tensor, "*shape"]:
    """Return the output with the gradient of slope * inputs."""
    product = slope * inputs
    return product + (output - product).detach()


class NormalizedSum(Function):
    """Sum u + v, in which relevance is divided by the magnitudes of the total relevance of u and v.

    a = u R / (u + v),    b = v R / (u + v)
    a <- a |sum a| / (|sum a| + |sum b|) sum R / sum a,    and b likewise
    """

    @staticmethod
    def forward(ctx: Any, first: Float[Tensor, "*shape"], second: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Return the sum."""
        ctx.save_for_backward(first, second)
        return first + second

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Float[Tensor, "*shape"]) -> tuple[Tensor, Tensor]:
        """Return the normalized gradients."""
        first, second = ((operand * gradient).sum() for operand in ctx.saved_tensors)
        share = (first + second) / (first.abs() + second.abs()).clamp(min=torch.finfo(gradient.dtype).tiny)
        return gradient * share * first.sign(), gradient * share * second.sign()


class ThroughWeights(Function):
    """Attention output, whose relevance also passes through the attention weights to the queries and keys.

    The weights A receive the relevance A * (g v') for the gradient g of the output, and the softmax passes it
    unchanged. Queries and keys receive half of it each. The matrices are computed in blocks of rows.
    """

    @staticmethod
    def forward(
        ctx: Any,
        output: Float[Tensor, "*leading rows e"],
        query: Float[Tensor, "*leading rows d"],
        key: Float[Tensor, "*leading keys d"],
        value: Float[Tensor, "*leading keys e"],
        mask: Tensor | None,
        scale: float,
    ) -> Float[Tensor, "*leading rows e"]:
        """Return the output."""
        ctx.save_for_backward(query, key, value, mask)
        ctx.scale = scale
        return output.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Float[Tensor, "*leading rows e"]) -> tuple[Tensor | None, ...]:
        """Return the gradients of the output, the queries and the keys."""
        query, key, value, mask = ctx.saved_tensors
        of_query, of_key = torch.zeros_like(query), torch.zeros_like(key)
        for start in range(0, query.shape[-2], ROW_BLOCK):
            rows = slice(start, start + ROW_BLOCK)
            products = query[..., rows, :] @ key.mT
            weights = _masked(ctx.scale * products, mask, rows).softmax(-1).nan_to_num(0)
            relevance = weights * (gradient[..., rows, :] @ value.mT) / 2
            ratio = (relevance / products).where(products != 0, 0) / 2
            of_query[..., rows, :] = ratio @ key
            of_key += ratio.mT @ query[..., rows, :]
        return gradient, of_query, of_key, None, None, None


def _masked(logits: Float[Tensor, "*leading rows keys"], mask: Tensor | None, rows: slice) -> Tensor:
    if mask is None:
        return logits
    mask = mask[..., rows, :] if mask.shape[-2] > 1 else mask
    return logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
