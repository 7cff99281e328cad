"""Pearson's correlation."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def correlation(x: Float[Tensor, "B N"], y: Float[Tensor, "B N"]) -> tuple[Float[Tensor, " B"], Bool[Tensor, " B"]]:
    """Pearson's correlation of each row, and where it is defined; 0 where x or y is constant and it is not."""
    defined = (x.amax(1) > x.amin(1)) & (y.amax(1) > y.amin(1))
    x, y = (direction(one - one.mean(1, keepdim=True)) for one in (x, y))
    return (x * y).sum(1).clamp(-1, 1).where(defined, 0), defined


def direction(x: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Each row at length 1, however short it is; zero where it is zero."""
    largest = x.abs().amax(1, keepdim=True)
    return F.normalize(x / largest.where(largest > 0, 1), dim=1)
