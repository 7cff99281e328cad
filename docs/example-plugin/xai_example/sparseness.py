"""Sparseness."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation


def gini(values: Float[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """The Gini index of each map of non-negative values; 0 where all are zero."""
    ascending = values.flatten(1).sort(dim=1).values
    count = ascending.shape[1]
    places = torch.arange(1, count + 1, device=values.device, dtype=values.dtype)
    total = ascending.sum(1)
    index = 1 - 2 * (ascending * (count - places + 0.5)).sum(1) / (count * total.where(total > 0, 1))
    return index.where(total > 0, 0)


class Sparseness(xai.Metric):
    """Sparseness: how few pixels hold the relevance, the Gini index of the map.

    G(v) = 1 - 2 sum_k v_(k) / ||v||_1 (d - k + 1/2) / d, with v_(1) <= ... <= v_(d) the values of the map in [0,1]:
    0 where all are equal, near 1 where one pixel holds all. Higher is sparser; whether the map is right it does not
    say, and the model plays no part. The paper takes the magnitudes of attributions; here maps are normalized first.

    Source: Chalasani et al., "Concise Explanations of Neural Networks using Adversarial Training", ICML 2020; the
    index as in Hurley and Rickard, "Comparing Measures of Sparsity", IEEE Transactions on Information Theory 2009.
    """

    name = "sparseness"
    higher_is_better = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Take the index of each map."""
        return xai.MetricResult(gini(saliency.values))
