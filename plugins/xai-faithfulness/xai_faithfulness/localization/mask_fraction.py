"""Fraction of a map inside a mask."""

from jaxtyping import Bool, Float
from torch import Tensor


def fraction_inside(mass: Float[Tensor, "B *size"], masks: Bool[Tensor, "B *size"]) -> Float[Tensor, " B"]:
    """Return the fraction of the sum of a nonnegative map that is inside the mask, or zero if the sum is zero."""
    dims = tuple(range(1, mass.ndim))
    inside, total = (mass * masks).sum(dims), mass.sum(dims)
    return inside / total.where(total > 0, 1)
