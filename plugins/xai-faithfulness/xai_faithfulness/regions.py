"""Square regions of an image, those at the right and bottom edges cut off where the side does not divide it."""

import math

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from xai_core.plugin import OptionError


def fitting(side: int, size: tuple[int, int]) -> int:
    """The side of a region, which must fit into an image of this size.

    Raises
    ------
    OptionError
        Where a region is larger than the image.
    """
    if side > min(size):
        raise OptionError(f"region must be at most the side of the image, {size[0]}x{size[1]}; got {side}")
    return side


def grid_of(size: tuple[int, int], side: int) -> tuple[int, int]:
    """How many rows and columns of regions an image has, which must not be smaller than one."""
    side = fitting(side, size)
    return math.ceil(size[0] / side), math.ceil(size[1] / side)


def region_means(maps: Float[Tensor, "B H W"], side: int) -> Float[Tensor, "B h w"]:
    """The mean of each map over each region, in float64: regions of the same values, in whatever order, are equal.

    Raises
    ------
    OptionError
        Where a region is larger than the image.
    """
    side = fitting(side, (maps.shape[1], maps.shape[2]))
    if side == 1:
        return maps
    return F.avg_pool2d(maps.double()[:, None], side, ceil_mode=True, count_include_pad=False)[:, 0]


def region_sums(maps: Float[Tensor, "B H W"], side: int) -> Float[Tensor, "B h w"]:
    """The sum of each map over each region, in float64.

    Raises
    ------
    OptionError
        Where a region is larger than the image.
    """
    side = fitting(side, (maps.shape[1], maps.shape[2]))
    return F.avg_pool2d(maps.double()[:, None], side, ceil_mode=True, divisor_override=1)[:, 0]


def over_pixels(regions: Shaped[Tensor, "B h w"], side: int, size: tuple[int, int]) -> Shaped[Tensor, "B H W"]:
    """Give each pixel what its region has."""
    return regions.repeat_interleave(side, 1)[:, : size[0]].repeat_interleave(side, 2)[:, :, : size[1]]
