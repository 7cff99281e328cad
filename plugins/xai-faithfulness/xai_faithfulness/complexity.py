"""Complexity."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation


def complexity(values: Float[Tensor, "B *size"]) -> Float[Tensor, " B"]:
    """Return the mean of each map, its L1 norm per pixel."""
    return values.mean(tuple(range(1, values.ndim)))


class Complexity(xai.Metric):
    """Complexity: the mean value of the map, a measure of the marked area.

    It is the L1 norm of the normalized map divided by the number of pixels, in [0, 1]. It is 0 for a constant map,
    whose values are all zero. Lower is better. It does not depend on the model.

    Source: Poppi et al., "Revisiting The Evaluation of Class Activation Mapping for Explainability: A Novel Metric and
    Experimental Analysis", CVPR workshops 2021, section 3.
    """

    name = "complexity"
    volumes = True
    higher_is_better = False

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Average the values of each map."""
        return xai.MetricResult(complexity(saliency.values))
