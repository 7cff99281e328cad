"""Coherency."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.correlation import correlation
from xai_faithfulness.masked_images import masked_images


def coherency(evaluation: Evaluation, saliency: xai.Saliency) -> Float[Tensor, " B"]:
    """Return (1 + r) / 2. r is the correlation of each map with the map of the masked image, which is image times map.

    It is 0 if there is no correlation. The result is computed once per batch.
    """

    def compute() -> Tensor:
        maps_of_masked = saliency.explain(masked_images(evaluation.images, saliency.values)).values
        r, defined = correlation(saliency.values.flatten(1), maps_of_masked.flatten(1))
        return ((1 + r) / 2).where(defined, 0)

    return evaluation.once(("coherency", saliency), compute)


class Coherency(xai.Metric):
    """Coherency: the similarity of a map and the map of the masked image, which is the image times the map.

    It is (1 + r) / 2, with r Pearson's correlation over pixels of both maps at the size of the image. Both maps are
    computed by the same method for the same target. The value is in [0, 1]. It is 0 if one of the maps is constant, so
    that there is no correlation. Higher is better.

    Source: Poppi et al., "Revisiting The Evaluation of Class Activation Mapping for Explainability: A Novel Metric and
    Experimental Analysis", CVPR workshops 2021, section 3.

    Raises
    ------
    UnsuitableError
        If the maps were not computed by an engine, because the metric must explain other images with the same method.
    """

    name = "coherency"
    volumes = True
    higher_is_better = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Explain the masked images and compare the maps."""
        return xai.MetricResult(coherency(evaluation, saliency))
