"""Seg-XRes-CAM."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_cam.base import CAM, Layers
from xai_core.plugin import check_choice, check_integer

POOLINGS: Mapping[str, Mapping[int, Any]] = {
    "mean": {2: F.avg_pool2d, 3: F.avg_pool3d},
    "max": {2: F.max_pool2d, 3: F.max_pool3d},
}
"""Functions that pool maps of two or three dimensions."""


class SegXResCAM(CAM):
    """Seg-XRes-CAM: the gradient of a region, pooled in windows, times the activation, summed over channels.

        L_ij = ReLU(sum_k Up(Pool(d(sum_M y)/dA_k))_ij A_k,ij)

    Pool is the mean or the maximum over each window of `window` x `window` cells, and Up repeats it in all cells of the
    window. Windows do not overlap, and the windows at the lower and the right border can be smaller. In volumes,
    windows are cubes. The target is `xai_core.Region(category, mask)`.

    Windows of one cell result in HiResCAM, and a single window with the mean results in Seg-Grad-CAM. Other targets
    than regions are possible.

    Source: Hasany, Petitjean and Mériaudeau, "Seg-XRes-CAM: Explaining Spatially Local Regions in Image Segmentation",
    CVPR Workshops 2023. Their code fills smaller windows with zeros, and then enlarges the result to the size of the
    map.

    Parameters
    ----------
    layer
        See `CAM`.
    window
        Side of a window in cells, at least 1.
    pooling
        `mean` or `max`.
    """

    name = "seg-xres-cam"

    def __init__(self, layer: Layers = None, window: int = 2, pooling: str = "mean") -> None:
        super().__init__(layer)
        self.window = check_integer("window", window, 1)
        self.pooling = check_choice("pooling", pooling, [*POOLINGS])

    def channels(self, captured: xai.Captured, layer: str) -> Float[Tensor, "B K *grid"]:
        """Multiply the activation by the pooled gradient elementwise."""
        return pooled(captured.gradient(layer), self.window, self.pooling) * captured.activation(layer)


def pooled(maps: Float[Tensor, "B K *grid"], window: int, pooling: str) -> Float[Tensor, "B K *grid"]:
    """Return maps in which each cell is the mean or the maximum of its window."""
    grid = maps.shape[2:]
    window = min(window, max(grid))
    values: Tensor = POOLINGS[pooling][len(grid)](maps, window, ceil_mode=True)
    for axis, side in enumerate(grid, 2):
        values = values.repeat_interleave(window, axis).narrow(axis, 0, side)
    return values
