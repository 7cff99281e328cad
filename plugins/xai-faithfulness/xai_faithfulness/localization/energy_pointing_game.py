"""Energy-based pointing game."""

from typing import ClassVar

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_faithfulness.localization.mask_fraction import fraction_inside


class EnergyPointingGame(xai.Metric):
    """Energy-based pointing game: the fraction of the map's energy inside the mask. Higher is better.

    The energy is the normalized map, from 0 at its smallest value to 1 at its largest. The value is 0 if the map is
    constant.

    Source: Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks", CVPR
    Workshops 2020, section 4.3, where the mask is the bounding box of the object.
    """

    name = "energy-pointing-game"
    higher_is_better = True
    volumes = True
    needs_ground_truth: ClassVar[bool] = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Return the fraction of the map's energy that is inside the mask."""
        return xai.MetricResult(fraction_inside(saliency.values, evaluation.masks))
