"""Average gain."""

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.batch_cache import image_scores
from xai_faithfulness.masked_images import PROBABILITY, MaskedImageMetric, masked_image_scores


class AverageGain(MaskedImageMetric):
    """Average gain: how much of the possible increase in the class probability the image times its map achieves.

        max(0, O - Y) / (1 - Y)

    Y and O are the probabilities of `AverageDrop`. The value is a fraction in [0, 1] for each image, while the paper
    reports the mean over images in percent. Higher is better. A constant model results in 0, and so does an image with
    Y = 1. If the target is not a class, an image with Y > 1 scores 0.

    Source: Zhang, Torres, Sicre, Avrithis and Ayache, "Opti-CAM: Optimizing saliency maps for interpretability", 2024.
    """

    name = "average-gain"
    higher_is_better = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Compare the two probabilities."""
        original, masked = image_scores(evaluation, PROBABILITY), masked_image_scores(evaluation, saliency, self.mute)
        below_one = original < 1
        gain = (masked - original).clamp(min=0) / (1 - original).where(below_one, 1)
        return xai.MetricResult(gain.where(below_one, 0))
