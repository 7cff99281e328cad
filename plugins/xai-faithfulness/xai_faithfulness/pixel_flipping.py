"""Pixel flipping."""

import math
from typing import ClassVar

from xai_core.plugin import Baseline, steps_of
from xai_faithfulness.curves import Walk
from xai_faithfulness.options import at_least


class PixelFlipping(Walk):
    """Pixel flipping: the score while the most relevant squares of the image are replaced, one after the other.

    Squares are ranked by the mean of the map over them, most relevant first; the value is the area under the curve
    by the trapezoid rule, divided by the number of steps, so that it does not grow with it. By default squares of 9x9
    pixels are replaced by normal noise, the same for every image. Lower is better; a constant model gives its score.

    Source: Bach et al., "On Pixel-wise Explanations for Non-Linear Classifier Decisions by Layer-wise Relevance
    Propagation", PLOS ONE 2015; squares and noise as in Samek et al., "Evaluating the Visualization of What a Deep
    Neural Network has Learned", IEEE TNNLS 2017.

    Parameters
    ----------
    region
        Side of the squares in pixels; those at the right and bottom edges are cut off where it does not divide the
        image. With 1 and the baseline of deletion, it is deletion.
    steps
        Number of steps, of equally many regions; default: one region a step.
    baseline, score, ties, seed
        As for deletion; the baseline is `noise` by default.
    """

    name = "pixel-flipping"
    higher_is_better = False
    protocol_baseline: ClassVar[Baseline] = "noise"

    def __init__(
        self,
        region: int = 9,
        steps: int | None = None,
        baseline: Baseline | None = None,
        score: str = "probability",
        ties: str = "stable",
        seed: int = 0,
    ) -> None:
        super().__init__(steps, baseline, score, ties, seed)
        self.region = at_least(1, "region", region)

    def counts(self, size: tuple[int, int]) -> list[int]:
        """One region a step, where the number of steps is not given."""
        return steps_of(size, math.prod(size) if self.steps is None else self.steps)
