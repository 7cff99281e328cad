"""Average increase."""

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.batch_cache import image_scores
from xai_faithfulness.masked_images import PROBABILITY, MaskedImageMetric, masked_image_scores


class AverageIncrease(MaskedImageMetric):
    """Average increase, or increase in confidence: whether the class probability is higher for the image times its map.

    The value is 1 if Y < O, else 0, with Y and O as in `AverageDrop`. The mean over images is the paper's number, as a
    fraction instead of a percentage. Higher is better. A constant model results in 0.

    Source: Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional
    Networks", WACV 2018, section 4.1; `mute=0.5` as in Wang et al., "Score-CAM", CVPR workshops 2020, section 4.2.
    """

    name = "average-increase"
    higher_is_better = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Compare the two probabilities."""
        masked = masked_image_scores(evaluation, saliency, self.mute)
        return xai.MetricResult((masked > image_scores(evaluation, PROBABILITY)).to(masked.dtype))
