"""Intersection over union, at the best threshold."""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.ranking import ranks_of


def best_iou(
    saliency: Float[Tensor, "B H W"], masks: Bool[Tensor, "B H W"], ranks: Int[Tensor, "B H W"]
) -> Float[Tensor, " B"]:
    """The largest intersection over union of the mask and the pixels of at least t, over all t.

    With the pixels in the order of their ranks, those of at least t are the first n, for each n after which the value
    changes. `ranks` are those of the map, ties in any order.
    """
    places = ranks.flatten(1)
    values = torch.empty_like(saliency.flatten(1)).scatter_(1, places, saliency.flatten(1))
    inside = torch.empty_like(masks.flatten(1)).scatter_(1, places, masks.flatten(1))
    chosen = torch.arange(1, values.shape[1] + 1, device=values.device)
    intersection = inside.cumsum(1)
    union = chosen + intersection[:, -1:] - intersection
    ends = torch.ones_like(inside)
    ends[:, :-1] = values[:, :-1] > values[:, 1:]
    return (intersection / union * ends).amax(1)


class IoU(xai.Metric):
    """Intersection over union of the mask and the thresholded map, at the threshold that suits it best.

    All thresholds are tried for each image: the values of the map. Higher is better.

    Source: the localization of Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, with
    a mask in the place of the box and the best threshold in the place of 20 % of the maximum, as Choe et al.,
    "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020, ask.
    """

    name = "iou"
    higher_is_better = True
    needs_ground_truth: ClassVar[bool] = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Try each value of the map as a threshold."""
        values = best_iou(saliency.values, evaluation.masks, ranks_of(evaluation, saliency))
        return xai.MetricResult(values)
