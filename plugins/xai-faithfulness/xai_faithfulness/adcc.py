"""ADCC, average drop - coherency - complexity."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.coherency import coherency
from xai_faithfulness.complexity import complexity
from xai_faithfulness.masked_images import relative_drop


def harmonic_mean(*parts: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Return the harmonic mean of nonnegative numbers, which is 0 if one of them is 0."""
    return torch.stack(parts).clamp(min=0).reciprocal().mean(0).reciprocal()


class ADCC(xai.Metric):
    """ADCC: the harmonic mean of coherency, 1 - complexity and 1 - drop, each of which is easy to maximize alone.

        3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop))

    The drop is relative and uses softmax probabilities. The value is in [0, 1], and 0 if one of the three is 0. Higher
    is better. As for average drop, the target's score of the image must be positive. If it is not, the drop counts as 0
    for any map.

    Source: Poppi et al., "Revisiting The Evaluation of Class Activation Mapping for Explainability: A Novel Metric and
    Experimental Analysis", CVPR workshops 2021, section 3.

    Raises
    ------
    UnsuitableError
        If the maps were not computed by an engine, because the metric must explain other images with the same method.
    """

    name = "adcc"
    volumes = True
    higher_is_better = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Combine the three metrics. Their values are shared with other metrics of the batch."""
        coherent = coherency(evaluation, saliency)
        simple = 1 - complexity(saliency.values)
        kept = 1 - relative_drop(evaluation, saliency)
        return xai.MetricResult(harmonic_mean(coherent, simple, kept))
