"""ADCC, average drop - coherency - complexity."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.coherency import coherency
from xai_faithfulness.complexity import complexity
from xai_faithfulness.masked import drop


def harmonic_mean(*parts: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """The harmonic mean of numbers that are not negative: 0, its limit, where one of them is 0."""
    return torch.stack(parts).clamp(min=0).reciprocal().mean(0).reciprocal()


class ADCC(xai.Metric):
    """ADCC: one number for coherency, complexity and average drop, none of which can be won alone.

    3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop)), with the drop relative and of softmax probabilities:
    the harmonic mean, in [0, 1], and 0 where one of the three is 0. Higher is better. As for average drop, the target's
    score of the image must be positive; where it is not, the drop counts as 0, whatever the map.

    Source: Poppi et al., "Revisiting The Evaluation of Class Activation Mapping for Explainability: A Novel Metric and
    Experimental Analysis", CVPR workshops 2021, section 3.

    Raises
    ------
    UnsuitableError
        For maps of your own, since the method that made them is not known.
    """

    name = "adcc"
    higher_is_better = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Combine the three, computed once for those who ask for them alone."""
        coherent = coherency(evaluation, saliency)
        simple = 1 - complexity(saliency.values)
        kept = 1 - drop(evaluation, saliency)
        return xai.MetricResult(harmonic_mean(coherent, simple, kept))
