"""Square regions of an image, those at the right and bottom edges cut off where the side does not divide it."""

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from xai_core.errors import OptionError


def region_means(maps: Float[Tensor, "B H W"], side: int) -> Float[Tensor, "B h w"]:
    """The mean of each map over each region.

    Raises
    ------
    OptionError
        Where a region is larger than the image.
    """
    if side > min(maps.shape[1:]):
        height, width = maps.shape[1:]
        raise OptionError(f"region must be at most the side of the image, {height}x{width}; got {side}")
    return F.avg_pool2d(maps[:, None], side, ceil_mode=True, count_include_pad=False)[:, 0]


def over_pixels(regions: Shaped[Tensor, "B h w"], side: int, size: tuple[int, int]) -> Shaped[Tensor, "B H W"]:
    """Give each pixel what its region has."""
    return regions.repeat_interleave(side, 1)[:, : size[0]].repeat_interleave(side, 2)[:, :, : size[1]]
