"""Relevance rank accuracy."""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.ranking import ranks_of


def relevance_rank(
    saliency: Float[Tensor, "B H W"], masks: Bool[Tensor, "B H W"], ranks: Int[Tensor, "B H W"]
) -> Float[Tensor, " B"]:
    """The share of the K most salient pixels that is inside a mask of K pixels.

    Of pixels as salient as the last of the K, each is as likely as another to be among them, and the mean is given.
    `ranks` are those of the map, ties in any order.
    """
    size = masks.sum((1, 2), keepdim=True)
    last = saliency.where(ranks < size, torch.inf).amin((1, 2), keepdim=True)
    above, tied = saliency > last, saliency == last
    free = size - above.sum((1, 2), keepdim=True)
    chance = free / tied.sum((1, 2), keepdim=True)
    inside = (above & masks).sum((1, 2)) + chance.flatten() * (tied & masks).sum((1, 2))
    return inside / size.flatten()


class RelevanceRank(xai.Metric):
    """Relevance rank accuracy: of as many most salient pixels as the mask has, the share inside it. Higher is better.

    Where pixels tie for the last places among them, the mean over all choices is given.

    Source: Arras, Osman and Samek, "CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural network
    explanations", Information Fusion 2022.
    """

    name = "relevance-rank"
    higher_is_better = True
    needs_ground_truth: ClassVar[bool] = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Count the most salient pixels that are inside."""
        values = relevance_rank(saliency.values, evaluation.masks, ranks_of(evaluation, saliency))
        return xai.MetricResult(values)
