"""Pointing game."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation, check_number


def pointing_game(
    saliency: Float[Tensor, "B *size"], masks: Bool[Tensor, "B *size"], tolerance: float = 0
) -> Float[Tensor, " B"]:
    """Return whether the most salient pixel is in the mask, or within `tolerance` pixels of it.

    If several pixels are equally salient, return the fraction of them for which this is true. Constant maps result in
    zero.
    """
    dims = tuple(range(1, masks.ndim))
    most, least = saliency.amax(dims, keepdim=True), saliency.amin(dims, keepdim=True)
    peaks = (saliency == most) & (most > least)
    hits = peaks & dilated(masks, tolerance)
    return hits.sum(dims) / peaks.sum(dims).clamp(min=1)


def dilated(masks: Bool[Tensor, "B *size"], distance: float) -> Bool[Tensor, "B *size"]:
    """Return the pixels whose Euclidean distance to the mask is at most `distance`."""
    if masks.ndim == 4:
        return dilated_volumes(masks, distance)
    reach, height = math.floor(distance), masks.shape[1]
    padded = F.pad(masks.float(), (0, 0, reach, reach))
    result = torch.zeros_like(masks)
    for down in range(-reach, reach + 1):
        across = math.floor(math.sqrt(distance**2 - down**2))
        rows = padded[:, reach + down : reach + down + height]
        result |= F.max_pool1d(rows, 2 * across + 1, 1, across) > 0
    return result


def dilated_volumes(masks: Bool[Tensor, "B D H W"], distance: float) -> Bool[Tensor, "B D H W"]:
    """Return the voxels whose Euclidean distance to the mask is at most `distance`, in voxels."""
    reach, depth = math.floor(distance), masks.shape[1]
    padded = F.pad(masks, (0, 0, 0, 0, reach, reach))
    result = torch.zeros_like(masks)
    for deeper in range(-reach, reach + 1):
        slices = padded[:, reach + deeper : reach + deeper + depth].flatten(0, 1)
        result |= dilated(slices, math.sqrt(distance**2 - deeper**2)).view_as(masks)
    return result


class PointingGame(xai.Metric):
    """Pointing game: whether the most salient pixel is in the mask, 1 or 0. Higher is better.

    If several pixels are equally salient, the value is the fraction of them that is in the mask. It is 0 if the map is
    constant.

    Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop", IJCV 2018, section 4.1, with a tolerance
    of 15 pixels.

    Parameters
    ----------
    tolerance
        Largest distance from the mask, in pixels.
    """

    name = "pointing-game"
    higher_is_better = True
    volumes = True
    needs_ground_truth: ClassVar[bool] = True

    def __init__(self, tolerance: float = 0) -> None:
        self.tolerance = check_number("tolerance", tolerance, minimum=0)

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Look up the mask at the largest value of the map."""
        return xai.MetricResult(pointing_game(saliency.values, evaluation.masks, self.tolerance))
