"""The energy-based pointing game."""

from typing import ClassVar

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.localization.mass import share_inside


class EnergyPointingGame(xai.Metric):
    """Energy-based pointing game: the share of the map's energy inside the mask. Higher is better.

    The energy is the map as it is shown, from 0 at its smallest value to 1 at its largest. Zero where the map is
    constant.

    Source: Wang et al., "Score-CAM: MetricResult-Weighted Visual Explanations for Convolutional Neural Networks", CVPR
    Workshops 2020, section 4.3, where the mask is the object's box.
    """

    name = "energy-pointing-game"
    higher_is_better = True
    needs_ground_truth: ClassVar[bool] = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Take the share of the values."""
        return xai.MetricResult(share_inside(saliency.values, evaluation.masks))
