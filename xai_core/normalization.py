"""Maps resized to the images and normalized to [0, 1]."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

CONSTANT = 1e-6
"""A map is constant, up to rounding, if its range is at most this fraction of its largest magnitude."""


def resize(maps: Float[Tensor, "B h w"], size: tuple[int, int]) -> Float[Tensor, "B H W"]:
    """Resize maps bilinearly, with corners not aligned, as other libraries do."""
    if maps.shape[-2:] == size:
        return maps
    return F.interpolate(maps[:, None], size, mode="bilinear", align_corners=False)[:, 0]


def normalize(maps: Float[Tensor, "B H W"], constant: Bool[Tensor, " B"] | None = None) -> Float[Tensor, "B H W"]:
    """Min-max normalize each map to [0, 1]. Constant maps become zero.

    Parameters
    ----------
    maps
        Maps of any range.
    constant
        Which maps are constant. Default: the result of `is_constant`.
    """
    constant = is_constant(maps) if constant is None else constant
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    span = (high - low).where(~constant[:, None, None], 1)
    return ((maps - low) / span).clamp(0, 1).masked_fill(constant[:, None, None], 0)


def is_constant(maps: Float[Tensor, "B h w"]) -> Bool[Tensor, " B"]:
    """Return which maps are constant up to rounding: range <= 1e-6 * largest magnitude."""
    return maps.amax((1, 2)) - maps.amin((1, 2)) <= CONSTANT * maps.abs().amax((1, 2))
