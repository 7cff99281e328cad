"""Sparseness: the Gini index of a map."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation


def gini(values: Float[Tensor, "B H W"]) -> Float[Tensor, " B"]:
    """Return the Gini index of each map of non-negative values, or 0 if all its values are zero."""
    ascending = values.flatten(1).sort(dim=1).values
    count = ascending.shape[1]
    ranks = torch.arange(1, count + 1, device=values.device, dtype=values.dtype)
    total = ascending.sum(1)
    index = 1 - 2 * (ascending * (count - ranks + 0.5)).sum(1) / (count * total.where(total > 0, 1))
    return index.where(total > 0, 0)


class Sparseness(xai.Metric):
    """Sparseness: concentration of the relevance on few pixels, as the Gini index of the map.

        G(v) = 1 - 2 sum_k v_(k) / ||v||_1 (d - k + 1/2) / d

    v_(1) <= ... <= v_(d) are the values of the map in [0,1], in ascending order. G is 0 if all values are equal, and
    near 1 if one pixel has all the relevance. Higher values are sparser. The metric does not use the model, so it does
    not measure whether the map is correct. The paper uses the absolute values of attributions. Here, maps are
    normalized first.

    Source: Chalasani et al., "Concise Explanations of Neural Networks using Adversarial Training", ICML 2020; the
    index as in Hurley and Rickard, "Comparing Measures of Sparsity", IEEE Transactions on Information Theory 2009.
    """

    name = "sparseness"
    higher_is_better = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Return the index of each map, [B]."""
        return xai.MetricResult(gini(saliency.values))
