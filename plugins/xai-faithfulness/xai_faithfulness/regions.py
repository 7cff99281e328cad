"""Square regions of an image. If the side does not divide the image, the last regions are cut off."""

import math

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from xai_core.plugin import OptionError, wide


def check_region(side: int, size: tuple[int, int]) -> int:
    """Return the side of a region, after checking that it fits into an image of this size.

    Raises
    ------
    OptionError
        If a region is larger than the image.
    """
    if side > min(size):
        raise OptionError(f"region must be at most the height and width of the image ({size[0]}x{size[1]}); got {side}")
    return side


def region_grid(size: tuple[int, int], side: int) -> tuple[int, int]:
    """Return the number of rows and columns of regions in an image.

    Raises
    ------
    OptionError
        If a region is larger than the image.
    """
    side = check_region(side, size)
    return math.ceil(size[0] / side), math.ceil(size[1] / side)


def region_means(maps: Float[Tensor, "B H W"], side: int) -> Float[Tensor, "B h w"]:
    """Return the mean of each map over each region.

    It is computed in float64, so that regions with the same values in a different order have equal means. MPS devices
    do not support float64, so float32 is used there.

    Raises
    ------
    OptionError
        If a region is larger than the image.
    """
    side = check_region(side, (maps.shape[1], maps.shape[2]))
    if side == 1:
        return maps
    return F.avg_pool2d(wide(maps)[:, None], side, ceil_mode=True, count_include_pad=False)[:, 0]


def region_sums(maps: Float[Tensor, "B H W"], side: int) -> Float[Tensor, "B h w"]:
    """Return the sum of each map over each region, in float64 if the device supports it.

    Raises
    ------
    OptionError
        If a region is larger than the image.
    """
    side = check_region(side, (maps.shape[1], maps.shape[2]))
    return F.avg_pool2d(wide(maps)[:, None], side, ceil_mode=True, divisor_override=1)[:, 0]


def expand_to_pixels(regions: Shaped[Tensor, "B h w"], side: int, size: tuple[int, int]) -> Shaped[Tensor, "B H W"]:
    """Return the value of each pixel's region."""
    return regions.repeat_interleave(side, 1)[:, : size[0]].repeat_interleave(side, 2)[:, :, : size[1]]
