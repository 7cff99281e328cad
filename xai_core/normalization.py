"""Maps resized to the images and normalized to [0, 1]."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

CONSTANT = 1e-6
"""A map is constant, up to rounding, if its range is at most this fraction of its largest magnitude."""


def resize(maps: Float[Tensor, "B *grid"], size: tuple[int, ...]) -> Float[Tensor, "B *size"]:
    """Resize maps bilinearly, or trilinearly for volumes, with corners not aligned, as other libraries do."""
    if maps.shape[1:] == size:
        return maps
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return F.interpolate(maps[:, None], size, mode=mode, align_corners=False)[:, 0]


def normalize(maps: Float[Tensor, "B *size"], constant: Bool[Tensor, " B"] | None = None) -> Float[Tensor, "B *size"]:
    """Min-max normalize each map to [0, 1]. Constant maps become zero.

    Parameters
    ----------
    maps
        Maps of any range.
    constant
        Which maps are constant. Default: the result of `is_constant`.
    """
    constant = is_constant(maps) if constant is None else constant
    constant = constant.view(-1, *[1] * (maps.ndim - 1))
    dims = _dims(maps)
    low, high = maps.amin(dims, keepdim=True), maps.amax(dims, keepdim=True)
    span = (high - low).where(~constant, 1)
    return ((maps - low) / span).clamp(0, 1).masked_fill(constant, 0)


def is_constant(maps: Float[Tensor, "B *grid"]) -> Bool[Tensor, " B"]:
    """Return which maps are constant up to rounding: range <= 1e-6 * largest magnitude."""
    dims = _dims(maps)
    return maps.amax(dims) - maps.amin(dims) <= CONSTANT * maps.abs().amax(dims)


def _dims(maps: Tensor) -> tuple[int, ...]:
    """Return the dimensions of each map."""
    return tuple(range(1, maps.ndim))
