"""The pointing game."""

import math
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.options import number


def pointing_game(
    saliency: Float[Tensor, "B H W"], masks: Bool[Tensor, "B H W"], tolerance: float = 0
) -> Float[Tensor, " B"]:
    """Whether the most salient pixel is in the mask, or within `tolerance` pixels of it.

    Where several pixels are the most salient, the share of them that is; zero where all pixels are alike.
    """
    most, least = saliency.amax((1, 2), keepdim=True), saliency.amin((1, 2), keepdim=True)
    peaks = (saliency == most) & (most > least)
    hits = peaks & near(masks, tolerance)
    return hits.sum((1, 2)) / peaks.sum((1, 2)).clamp(min=1)


def near(masks: Bool[Tensor, "B H W"], distance: float) -> Bool[Tensor, "B H W"]:
    """The pixels whose Euclidean distance to a pixel of the mask is at most `distance`."""
    reach, height = math.floor(distance), masks.shape[1]
    padded = F.pad(masks.float(), (0, 0, reach, reach))
    grown = torch.zeros_like(masks)
    for down in range(-reach, reach + 1):
        across = math.floor(math.sqrt(distance**2 - down**2))
        rows = padded[:, reach + down : reach + down + height]
        grown |= F.max_pool1d(rows, 2 * across + 1, 1, across) > 0
    return grown


class PointingGame(xai.Metric):
    """Pointing game: whether the most salient pixel is in the mask, 1 or 0. Higher is better.

    Where several pixels are the most salient, the share of them that is; zero where the map is constant.

    Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop", IJCV 2018, section 4.1, who allow for 15
    pixels.

    Parameters
    ----------
    tolerance
        How far from the mask a pixel may be, in pixels.
    """

    name = "pointing-game"
    higher_is_better = True
    needs_ground_truth: ClassVar[bool] = True

    def __init__(self, tolerance: float = 0) -> None:
        self.tolerance = number("tolerance", tolerance, lambda pixels: 0 <= pixels < math.inf, "of pixels, at least 0")

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Look where the map is largest."""
        return xai.MetricResult(pointing_game(saliency.values, evaluation.masks, self.tolerance))
