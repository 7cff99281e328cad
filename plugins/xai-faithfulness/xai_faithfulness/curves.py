"""Curves of the model's score while pixels are replaced in the order of their saliency."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Baseline, Evaluation, ModelScorer, steps_of
from xai_faithfulness.blending import blank_of, blank_score, mixed_scores, whole_score
from xai_faithfulness.options import at_least, one_of, seed_of
from xai_faithfulness.ranking import ranks_of
from xai_faithfulness.regions import grid_of


def curve(
    score: ModelScorer,
    start: Float[Tensor, "B C H W"],
    finish: Float[Tensor, "B C H W"],
    ranks: Int[Tensor, "B H W"],
    counts: Sequence[int],
    ends: tuple[Float[Tensor, " B"], Float[Tensor, " B"]],
    kind: str = "probability",
) -> Float[Tensor, "B S"]:
    """Score images on the way from `start` to `finish`, pixel by pixel in the order of their ranks.

    At point s the pixels of rank below `counts[s]` are those of `finish`. The first and last point are
    `start` and `finish` themselves, whose scores are given as `ends`. Images x points go through the model
    in blocks.
    """
    inner = torch.tensor(counts[1:-1], dtype=torch.int32).to(ranks.device, non_blocking=True)
    ranks = ranks.int()
    scores = mixed_scores(
        score,
        start,
        finish,
        lambda images, points: ranks[images, None] < inner[points, None, None],
        len(inner),
        kind,
    )
    return torch.cat([ends[0][:, None], scores, ends[1][:, None]], 1)


def auc(curve: Float[Tensor, "B S"]) -> Float[Tensor, " B"]:
    """Area under each curve by the trapezoid rule, divided by the number of steps, as RISE's reference code does."""
    return (curve.sum(1) - (curve[:, 0] + curve[:, -1]) / 2) / (curve.shape[1] - 1)


class Walk(xai.Metric):
    """A walk between an image and a baseline by rank of pixels, scored at each step; the value is its area.

    Walks that differ only in what is made of the curve share it.

    Parameters
    ----------
    steps
        Number of steps, of equal size; default: W pixels per step (224 steps at 224x224).
    baseline
        What stands for no information: `zero`, `mean`, `blur`, `noise`, or a tensor that broadcasts to
        [B,C,H,W]; default: that of the protocol.
    score
        `probability` (softmax) or `logit` of the target.
    ties
        Order of equally salient pixels: `stable` (by index) or `random` (by `seed`).
    seed
        Seed of random ties and of noise.
    """

    protocol_baseline: ClassVar[Baseline]
    inserts: ClassVar[bool] = False
    """Whether the walk goes from the baseline to the image, rather than from the image to the baseline."""
    region: int = 1
    """Side in pixels of the squares that are replaced as one, by the mean of their saliency."""

    def __init__(
        self,
        steps: int | None = None,
        baseline: Baseline | None = None,
        score: str = "probability",
        ties: str = "stable",
        seed: int = 0,
    ) -> None:
        self.steps = None if steps is None else at_least(1, "steps", steps)
        self.baseline = baseline
        self.score = one_of("score", score, "probability", "logit")
        self.ties = one_of("ties", ties, "stable", "random")
        self.seed = seed_of(seed)

    def counts(self, size: tuple[int, int]) -> list[int]:
        """How many of the regions of a map of this size are replaced at each point."""
        return steps_of(size, self.steps)

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Walk from one end to the other and integrate."""
        walked, fractions = self.walked(evaluation, saliency)
        return xai.MetricResult(auc(walked), walked, fractions)

    def walked(
        self, evaluation: Evaluation, saliency: xai.Saliency
    ) -> tuple[Float[Tensor, "B S"], Float[Tensor, " S"]]:
        """The score at each point of the walk, and the fraction of pixels, or regions, replaced there."""
        baseline = self.protocol_baseline if self.baseline is None else self.baseline
        size = (saliency.values.shape[-2], saliency.values.shape[-1])
        counts = self.counts(grid_of(size, self.region))

        def walk() -> Tensor:
            ends = [
                (evaluation.images, whole_score(evaluation, self.score)),
                (blank_of(evaluation, baseline, self.seed), blank_score(evaluation, baseline, self.seed, self.score)),
            ]
            (start, first), (finish, last) = reversed(ends) if self.inserts else ends
            ranks = ranks_of(evaluation, saliency, self.ties, self.seed, self.region)
            return curve(evaluation.model_score, start, finish, ranks, counts, (first, last), self.score)

        protocol = (self.inserts, self.region, *counts, baseline, self.score, self.ties, self.seed)
        walked = evaluation.once(("walk", saliency, protocol), walk)
        return walked, torch.tensor(counts, dtype=walked.dtype).to(walked.device, non_blocking=True) / counts[-1]
