"""Pearson's correlation."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor


def correlation(x: Float[Tensor, "B N"], y: Float[Tensor, "B N"]) -> tuple[Float[Tensor, " B"], Bool[Tensor, " B"]]:
    """Return Pearson's correlation of each row, and whether it is defined.

    It is 0 and not defined if x or y is constant.
    """
    defined = (x.amax(1) > x.amin(1)) & (y.amax(1) > y.amin(1))
    x, y = (unit_vectors(rows - rows.mean(1, keepdim=True)) for rows in (x, y))
    return (x * y).sum(1).clamp(-1, 1).where(defined, 0), defined


def unit_vectors(x: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Scale each row to length 1, however short it is. Zero rows stay zero."""
    largest = x.abs().amax(1, keepdim=True)
    return F.normalize(x / largest.where(largest > 0, 1), dim=1)
