"""Relevance mass accuracy."""

from typing import ClassVar

import xai_core as xai
from xai_core.plugin import Evaluation, resize
from xai_faithfulness.localization.mask_fraction import fraction_inside


class RelevanceMass(xai.Metric):
    """Relevance mass accuracy: the fraction of the positive relevance that is inside the mask. Higher is better.

    The relevance of the method is resized to the image, and is not normalized. Negative relevance counts as zero. The
    value is 0 if there is no positive relevance.

    Source: Arras, Osman and Samek, "CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural network
    explanations", Information Fusion 2022.
    """

    name = "relevance-mass"
    higher_is_better = True
    volumes = True
    needs_ground_truth: ClassVar[bool] = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Return the fraction of the raw map's positive relevance that lies inside the mask."""
        masks = evaluation.masks
        relevance = resize(saliency.raw, tuple(masks.shape[1:])).relu()
        return xai.MetricResult(fraction_inside(relevance, masks))
