"""Relevance mass accuracy."""

from typing import ClassVar

import xai_core as xai
from xai_core.plugin import Evaluation, resize
from xai_faithfulness.localization.mass import share_inside


class RelevanceMass(xai.Metric):
    """Relevance mass accuracy: the share of the positive relevance that is inside the mask. Higher is better.

    Relevance is what the method gave, resized to the image and not normalized; where it is negative it counts as none.
    Zero where there is no positive relevance.

    Source: Arras, Osman and Samek, "CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural network
    explanations", Information Fusion 2022.
    """

    name = "relevance-mass"
    higher_is_better = True
    needs_ground_truth: ClassVar[bool] = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Take the share of the raw map's positive part."""
        masks = evaluation.masks
        relevance = resize(saliency.raw, (masks.shape[1], masks.shape[2])).relu()
        return xai.MetricResult(share_inside(relevance, masks))
