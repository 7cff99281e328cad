"""SRG, the symmetric relevance gain."""

from typing import ClassVar

import xai_core as xai
from xai_core.plugin import Baseline, Evaluation
from xai_faithfulness.curves import PerturbationCurve
from xai_faithfulness.deletion import Deletion
from xai_faithfulness.insertion import Insertion


class SRG(PerturbationCurve):
    """Symmetric relevance gain: the area between the curves that remove the least and the most salient pixels first.

    It is insertion minus deletion with the same baseline, by default zero in the normalized space. Effects of
    out-of-distribution inputs on the score are similar in both curves. Therefore, the ranking depends less on the
    baseline than the ranking by insertion or deletion. The value is in [-1, 1] for probabilities. A constant model
    results in 0, and so does a random map on average. Higher is better.

    Source: Blücher et al., "Decoupling Pixel Flipping and Occlusion Strategy for Consistent XAI Benchmarks", TMLR 2024,
    section 3.
    """

    name = "srg"
    higher_is_better = True
    protocol_baseline: ClassVar[Baseline] = "zero"

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Subtract deletion from insertion. The curves are subtracted at equal fractions of removed pixels."""
        baseline = self.protocol_baseline if self.baseline is None else self.baseline
        inserted, deleted = (
            metric(self.steps, baseline, self.score, self.ties, self.seed).evaluate(evaluation, saliency)
            for metric in (Insertion, Deletion)
        )
        assert inserted.curve is not None
        assert deleted.curve is not None
        gain = inserted.curve.flip(1) - deleted.curve
        return xai.MetricResult(inserted.values - deleted.values, gain, deleted.fractions)
