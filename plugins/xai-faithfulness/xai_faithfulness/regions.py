"""Square regions of an image, or cubes of a volume. If the side does not divide the image, the last are cut off."""

import math

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from xai_core.plugin import OptionError, wide


def region_sides(side: int, size: tuple[int, ...]) -> tuple[int, ...]:
    """Return the size of a region. The depth of a cube is at most the depth of the volume.

    Raises
    ------
    OptionError
        If a region is larger than the image.
    """
    *depth, height, width = size
    if side > min(height, width):
        raise OptionError(f"region must be at most the height and width of the image ({height}x{width}); got {side}")
    return *(min(side, slices) for slices in depth), side, side


def region_grid(size: tuple[int, ...], side: int) -> tuple[int, ...]:
    """Return the number of regions along each side of an image.

    Raises
    ------
    OptionError
        If a region is larger than the image.
    """
    return tuple(math.ceil(length / side) for length, side in zip(size, region_sides(side, size), strict=True))


def region_means(maps: Float[Tensor, "B *size"], side: int) -> Float[Tensor, "B *grid"]:
    """Return the mean of each map over each region.

    It is computed in float64, so that regions with the same values in a different order have equal means. MPS devices
    do not support float64, so float32 is used there.

    Raises
    ------
    OptionError
        If a region is larger than the image.
    """
    sides = region_sides(side, tuple(maps.shape[1:]))
    if side == 1:
        return maps
    pool = F.avg_pool2d if len(sides) == 2 else F.avg_pool3d
    return pool(wide(maps)[:, None], sides, ceil_mode=True, count_include_pad=False)[:, 0]


def region_sums(maps: Float[Tensor, "B *size"], side: int) -> Float[Tensor, "B *grid"]:
    """Return the sum of each map over each region, in float64 if the device supports it.

    Raises
    ------
    OptionError
        If a region is larger than the image.
    """
    sides = region_sides(side, tuple(maps.shape[1:]))
    pool = F.avg_pool2d if len(sides) == 2 else F.avg_pool3d
    return pool(wide(maps)[:, None], sides, ceil_mode=True, divisor_override=1)[:, 0]


def expand_to_pixels(regions: Shaped[Tensor, "B *grid"], side: int, size: tuple[int, ...]) -> Shaped[Tensor, "B *size"]:
    """Return the value of each pixel's region."""
    for dim, (length, along) in enumerate(zip(size, region_sides(side, size), strict=True), 1):
        regions = regions.repeat_interleave(along, dim).narrow(dim, 0, length)
    return regions
