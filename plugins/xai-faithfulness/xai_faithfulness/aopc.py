"""AOPC, the area over the perturbation curve."""

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.pixel_flipping import PixelFlipping


class AOPC(PixelFlipping):
    """Area over the perturbation curve: by how much the score falls below that of the image, the mean over all points.

    The mean over k = 0 ... L of f(x_0) - f(x_k), with x_k the image after k steps of pixel flipping, whose walk it
    shares. Higher is better; a constant model gives 0.

    Source: Samek et al., "Evaluating the Visualization of What a Deep Neural Network has Learned", IEEE TNNLS 2017,
    whose L is 100 regions of 9x9 pixels and whose noise is uniform.

    Parameters
    ----------
    region, steps, baseline, score, ties, seed
        As for pixel flipping.
    """

    name = "aopc"
    higher_is_better = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Take the mean of what was lost."""
        walked, fractions = self.walked(evaluation, saliency)
        return xai.MetricResult((walked[:, :1] - walked).mean(1), walked, fractions)
