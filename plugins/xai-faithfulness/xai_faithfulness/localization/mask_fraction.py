"""Fraction of a map inside a mask."""

from jaxtyping import Bool, Float
from torch import Tensor


def fraction_inside(mass: Float[Tensor, "B H W"], masks: Bool[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """Return the fraction of the sum of a nonnegative map that is inside the mask, or zero if the sum is zero."""
    inside, total = (mass * masks).sum((1, 2)), mass.sum((1, 2))
    return inside / total.where(total > 0, 1)
