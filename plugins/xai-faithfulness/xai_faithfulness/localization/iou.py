"""Intersection over union at the best threshold."""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.ranking import cached_ranks


def best_iou(
    saliency: Float[Tensor, "B *size"], masks: Bool[Tensor, "B *size"], ranks: Int[Tensor, "B *size"]
) -> Float[Tensor, " B"]:
    """Return the largest intersection over union of the mask and the pixels with values >= t, over all t.

    In the order of ranks, the pixels with values >= t are the first n, for each n after which the value changes.
    `ranks` are the ranks of the map, with ties in any order.
    """
    order = ranks.flatten(1)
    values = torch.empty_like(saliency.flatten(1)).scatter_(1, order, saliency.flatten(1))
    inside = torch.empty_like(masks.flatten(1)).scatter_(1, order, masks.flatten(1))
    selected = torch.arange(1, values.shape[1] + 1, device=values.device)
    intersection = inside.cumsum(1)
    union = selected + intersection[:, -1:] - intersection
    ends = torch.ones_like(inside)
    ends[:, :-1] = values[:, :-1] > values[:, 1:]
    return (intersection / union * ends).amax(1)


class IoU(xai.Metric):
    """Intersection over union of the mask and the thresholded map, at the best threshold for each image.

    All values of the map are tried as thresholds. Higher is better.

    Source: the localization of Zhou et al., "Learning Deep Features for Discriminative Localization", CVPR 2016, with a
    mask instead of the box. The best threshold replaces the threshold of 20 % of the maximum, as proposed in Choe et
    al., "Evaluating Weakly Supervised Object Localization Methods Right", CVPR 2020.
    """

    name = "iou"
    higher_is_better = True
    volumes = True
    needs_ground_truth: ClassVar[bool] = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Try each value of the map as a threshold."""
        values = best_iou(saliency.values, evaluation.masks, cached_ranks(evaluation, saliency))
        return xai.MetricResult(values)
