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
    saliency: Float[Tensor, "B H W"], masks: Bool[Tensor, "B H W"], tolerance: float = 0
) -> Float[Tensor, " B"]:
    """Return whether the most salient pixel is in the mask, or within `tolerance` pixels of it.

    If several pixels are equally salient, return the fraction of them for which this is true. Constant maps result in
    zero.
    """
    most, least = saliency.amax((1, 2), keepdim=True), saliency.amin((1, 2), keepdim=True)
    peaks = (saliency == most) & (most > least)
    hits = peaks & dilated(masks, tolerance)
    return hits.sum((1, 2)) / peaks.sum((1, 2)).clamp(min=1)


def dilated(masks: Bool[Tensor, "B H W"], distance: float) -> Bool[Tensor, "B H W"]:
    """Return the pixels whose Euclidean distance to the mask is at most `distance`."""
    reach, height = math.floor(distance), masks.shape[1]
    padded = F.pad(masks.float(), (0, 0, reach, reach))
    result = torch.zeros_like(masks)
    for down in range(-reach, reach + 1):
        across = math.floor(math.sqrt(distance**2 - down**2))
        rows = padded[:, reach + down : reach + down + height]
        result |= F.max_pool1d(rows, 2 * across + 1, 1, across) > 0
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
    needs_ground_truth: ClassVar[bool] = True

    def __init__(self, tolerance: float = 0) -> None:
        self.tolerance = check_number("tolerance", tolerance, minimum=0)

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Look up the mask at the largest value of the map."""
        return xai.MetricResult(pointing_game(saliency.values, evaluation.masks, self.tolerance))
