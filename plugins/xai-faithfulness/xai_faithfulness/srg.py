"""SRG, the symmetric relevance gain."""

from typing import ClassVar

import xai_core as xai
from xai_core.plugin import Baseline, Evaluation
from xai_faithfulness.curves import Walk
from xai_faithfulness.deletion import Deletion
from xai_faithfulness.insertion import Insertion


class SRG(Walk):
    """Symmetric relevance gain: the area between removing the least salient pixels first and the most salient first.

    That is insertion minus deletion under one baseline, by default zero in normalized space. What strange inputs do
    to the score they do to both, so that the ranking depends less on the baseline than that of either alone.
    Between -1 and 1 for probabilities; a constant model, and on average a random map, gives 0. Higher is better.

    Source: Blücher et al., "Decoupling Pixel Flipping and Occlusion Strategy for Consistent XAI Benchmarks",
    TMLR 2024, section 3.
    """

    name = "srg"
    higher_is_better = True
    protocol_baseline: ClassVar[Baseline] = "zero"

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Subtract deletion from insertion, and at each fraction removed the one curve from the other."""
        baseline = self.protocol_baseline if self.baseline is None else self.baseline
        inserted, deleted = (
            walk(self.steps, baseline, self.score, self.ties, self.seed).evaluate(evaluation, saliency)
            for walk in (Insertion, Deletion)
        )
        assert inserted.curve is not None
        assert deleted.curve is not None
        gain = inserted.curve.flip(1) - deleted.curve
        return xai.MetricResult(inserted.values - deleted.values, gain, deleted.fractions)
