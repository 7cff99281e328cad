"""Pixel flipping."""

import math
from typing import ClassVar

from xai_core.plugin import Baseline, check_integer, steps_of
from xai_faithfulness.curves import PerturbationCurve


class PixelFlipping(PerturbationCurve):
    """Pixel flipping: the area under the score while squares of the image are replaced, the most relevant ones first.

    Squares are ranked by the mean of the map over them. The area is computed by the trapezoidal rule and divided by the
    number of steps. By default, squares of 9x9 pixels are replaced by normal noise, which is the same for every image.
    Lower is better. For a constant model, the value is the model's score.

    Source: Bach et al., "On Pixel-wise Explanations for Non-Linear Classifier Decisions by Layer-wise Relevance
    Propagation", PLOS ONE 2015; squares and noise as in Samek et al., "Evaluating the Visualization of What a Deep
    Neural Network has Learned", IEEE TNNLS 2017.

    Parameters
    ----------
    region
        Side of the squares in pixels. If it does not divide the image, the squares at the right and bottom edges are
        cut off. With region 1 and the baseline of deletion, the metric equals deletion. Volumes have cubes, whose depth
        is at most the depth of the volume.
    steps
        Number of steps with equally many squares. Default: one square per step.
    baseline, score, ties, seed
        See `PerturbationCurve`. The default baseline is `noise`.
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
        self.region = check_integer("region", region, 1)

    def counts(self, size: tuple[int, ...]) -> list[int]:
        """Return the number of replaced squares at each point, by default one more at each."""
        return steps_of(size, math.prod(size) if self.steps is None else self.steps)
