"""Average drop."""

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.masked_images import MaskedImageMetric, relative_drop


class AverageDrop(MaskedImageMetric):
    """Average drop: the relative drop in the class probability when the image is multiplied by its map.

        max(0, Y - O) / Y

    Y is the softmax probability of the target for the image, and O for the image times its map. The value is a fraction
    in [0, 1] for each image, while the paper reports the mean over images in percent. Lower is better. A constant model
    results in 0, and so does an image with Y = 0.

    The ratio requires a positive Y. If the target is a callable or a `Target` object, Y and O are its values. An image
    whose Y is not positive scores 0, the best value, for any map. An image whose O is negative may score more than 1.

    Source: Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional
    Networks", WACV 2018, section 4.1; `mute=0.5` as in Wang et al., "Score-CAM", CVPR workshops 2020, section 4.2.
    """

    name = "average-drop"
    higher_is_better = False

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Compare the two probabilities."""
        return xai.MetricResult(relative_drop(evaluation, saliency, self.mute))
