"""Average increase."""

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.blending import whole_score
from xai_faithfulness.masked import PROBABILITY, Masking, masked_score


class AverageIncrease(Masking):
    """Average increase, or increase in confidence: whether the image times its map is more probable than the image.

    1 where Y < O, else 0, with Y and O as in average drop; the mean over images is the paper's number, as a share
    where the paper has per cent. Higher is better. A model that is constant gives 0.

    Source: Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional
    Networks", WACV 2018, section 4.1; `mute=0.5` as in Wang et al., "Score-CAM", CVPR workshops 2020, section 4.2.
    """

    name = "average-increase"
    higher_is_better = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Compare the two probabilities."""
        masked = masked_score(evaluation, saliency, self.mute)
        return xai.MetricResult((masked > whole_score(evaluation, PROBABILITY)).to(masked.dtype))
