"""How much of a map is inside a mask."""

from jaxtyping import Bool, Float
from torch import Tensor


def share_inside(mass: Float[Tensor, "B H W"], masks: Bool[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """The share of the sum over a map, which is not negative, that is inside the mask; zero where the sum is zero."""
    inside, whole = (mass * masks).sum((1, 2)), mass.sum((1, 2))
    return inside / whole.where(whole > 0, 1)
