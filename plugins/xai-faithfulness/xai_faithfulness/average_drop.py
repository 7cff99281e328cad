"""Average drop."""

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.masked import Masking, drop


class AverageDrop(Masking):
    """Average drop: the share of the class's probability that is lost where the image is multiplied by its map.

    max(0, Y - O) / Y, with Y the softmax probability of the target in the image and O in the image times its map:
    a share in [0, 1] of each image, where the paper gives the mean over images in per cent. Lower is better. A model
    that is constant gives 0, and so does an image whose Y is 0, since it has nothing to lose.

    A share needs a positive Y. Where the target is a callable or a question, Y and O are what it gives: an image whose
    Y is not positive gets 0, the best, whatever the map, and one whose O is negative may get more than 1.

    Source: Chattopadhay et al., "Grad-CAM++: Generalized Gradient-based Visual Explanations for Deep Convolutional
    Networks", WACV 2018, section 4.1; `mute=0.5` as in Wang et al., "Score-CAM", CVPR workshops 2020, section 4.2.
    """

    name = "average-drop"
    higher_is_better = False

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Compare the two probabilities."""
        return xai.MetricResult(drop(evaluation, saliency, self.mute))
