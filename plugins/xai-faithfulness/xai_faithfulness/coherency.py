"""Coherency."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.correlation import correlation
from xai_faithfulness.masked import masked_images


def coherency(evaluation: Evaluation, saliency: xai.Saliency) -> Float[Tensor, " B"]:
    """(1 + r) / 2, with r the correlation of each map with that of the image times the map; 0 where there is none."""

    def compute() -> Tensor:
        again = saliency.explain(masked_images(evaluation.images, saliency.values)).values
        r, defined = correlation(saliency.values.flatten(1), again.flatten(1))
        return ((1 + r) / 2).where(defined, 0)

    return evaluation.once(("coherency", saliency), compute)


class Coherency(xai.Metric):
    """Coherency: whether the image times its map is explained by the same map.

    (1 + r) / 2, with r Pearson's correlation over pixels of the map and the map that the same method makes, for the
    same target, of the image times the map; both at the image's size. In [0, 1]; 0 where one of the two maps is
    constant, so that there is no correlation. Higher is better.

    Source: Poppi et al., "Revisiting The Evaluation of Class Activation Mapping for Explainability: A Novel Metric and
    Experimental Analysis", CVPR workshops 2021, section 3.

    Raises
    ------
    UnsuitableError
        For maps of your own, since the method that made them is not known.
    """

    name = "coherency"
    higher_is_better = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Explain the masked image and compare."""
        return xai.MetricResult(coherency(evaluation, saliency))
