"""Relevance rank accuracy."""

from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.ranking import cached_ranks


def relevance_rank(
    saliency: Float[Tensor, "B *size"], masks: Bool[Tensor, "B *size"], ranks: Int[Tensor, "B *size"]
) -> Float[Tensor, " B"]:
    """Return the fraction of the K most salient pixels that is inside a mask of K pixels.

    If several pixels are as salient as the last of the K pixels, the result is the mean over all selections of them.
    `ranks` are the ranks of the map, with ties in any order.
    """
    dims = tuple(range(1, masks.ndim))
    size = masks.sum(dims, keepdim=True)
    last = saliency.where(ranks < size, torch.inf).amin(dims, keepdim=True)
    above, tied = saliency > last, saliency == last
    remaining = size - above.sum(dims, keepdim=True)
    selected = remaining / tied.sum(dims, keepdim=True)  # the fraction of tied pixels that is selected
    inside = (above & masks).sum(dims) + selected.flatten() * (tied & masks).sum(dims)
    return inside / size.flatten()


class RelevanceRank(xai.Metric):
    """Relevance rank accuracy: the fraction of the K most salient pixels inside the mask, with K the size of the mask.

    If pixels tie for the last of the K ranks, the value is the mean over all selections. Higher is better.

    Source: Arras, Osman and Samek, "CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural network
    explanations", Information Fusion 2022.
    """

    name = "relevance-rank"
    higher_is_better = True
    volumes = True
    needs_ground_truth: ClassVar[bool] = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Count the most salient pixels that are inside the mask."""
        values = relevance_rank(saliency.values, evaluation.masks, cached_ranks(evaluation, saliency))
        return xai.MetricResult(values)
