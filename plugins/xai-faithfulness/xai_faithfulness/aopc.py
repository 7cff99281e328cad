"""AOPC, the area over the perturbation curve."""

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.pixel_flipping import PixelFlipping


class AOPC(PixelFlipping):
    """Area over the perturbation curve: the mean drop in the score below the score of the original image.

    It is the mean over k = 0 ... L of f(x_0) - f(x_k). x_k is the image after k steps of `PixelFlipping`, which shares
    this curve. Higher is better. A constant model results in 0.

    Source: Samek et al., "Evaluating the Visualization of What a Deep Neural Network has Learned", IEEE TNNLS 2017. It
    uses L = 100 regions of 9x9 pixels and uniform noise.

    Parameters
    ----------
    region, steps, baseline, score, ties, seed
        See `PixelFlipping`.
    """

    name = "aopc"
    higher_is_better = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Average the drop over all points of the curve."""
        scores, fractions = self.curve(evaluation, saliency)
        return xai.MetricResult((scores[:, :1] - scores).mean(1), scores, fractions)
