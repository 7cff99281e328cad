"""Perturbation curves: the model's score while pixels are replaced in the order of their saliency."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_core.plugin import (
    SCORE_KINDS,
    Baseline,
    Evaluation,
    ModelScorer,
    blended_scores,
    check_choice,
    check_integer,
    check_seed,
    steps_of,
)
from xai_faithfulness.batch_cache import baseline_scores, baselines, image_scores
from xai_faithfulness.ranking import TIES, cached_ranks
from xai_faithfulness.regions import region_grid


def score_curve(
    model_score: ModelScorer,
    start: Float[Tensor, "B C *size"],
    finish: Float[Tensor, "B C *size"],
    ranks: Int[Tensor, "B *size"],
    counts: Sequence[int],
    ends: tuple[Float[Tensor, " B"], Float[Tensor, " B"]],
    kind: str = "probability",
) -> Float[Tensor, "B S"]:
    """Score images while the pixels of `start` are replaced by those of `finish` in the order of their ranks.

    The images of all points are passed through the model in blocks.

    Parameters
    ----------
    model_score
        Scores images for the target.
    start, finish
        The images at the first and at the last point.
    ranks
        Rank of each pixel, 0 for the first to be replaced.
    counts
        Number of replaced pixels at each point, from 0 to all.
    ends
        Scores of `start` and `finish`.
    kind
        `probability` or `logit`.
    """
    inner = torch.tensor(counts[1:-1], dtype=torch.int32).to(ranks.device, non_blocking=True)
    ranks = ranks.int()
    scores = blended_scores(
        model_score,
        start,
        finish,
        lambda images, points: ranks[images, None] < inner[points].view(-1, *[1] * (ranks.ndim - 1)),
        len(inner),
        kind,
    )
    return torch.cat([ends[0][:, None], scores, ends[1][:, None]], 1)


def auc(curve: Float[Tensor, "B S"]) -> Float[Tensor, " B"]:
    """Return the area under each curve by the trapezoidal rule, divided by the number of steps.

    RISE's reference code computes the same area.
    """
    return (curve.sum(1) - (curve[:, 0] + curve[:, -1]) / 2) / (curve.shape[1] - 1)


class PerturbationCurve(xai.Metric):
    """The area under the score while pixels of the image are replaced by a baseline, or baseline pixels by the image.

    Metrics that differ only in the number computed from the curve share the curve.

    Parameters
    ----------
    steps
        Number of steps of equal size. Default: W pixels per step (224 steps at 224x224), or D * W pixels for volumes.
    baseline
        Replacement of removed pixels: `zero`, `mean`, `blur`, `min`, `max`, `noise`, or a tensor that broadcasts
        to the images. Default: the baseline of the protocol.
    score
        `probability` (softmax) or `logit` of the target.
    ties
        Order of equally salient pixels: `stable` (by index) or `random` (by `seed`).
    seed
        Random seed for the order of ties and for the noise.
    """

    volumes = True
    protocol_baseline: ClassVar[Baseline]
    inserts: ClassVar[bool] = False
    """Whether the curve starts at the baseline and ends at the image, instead of the opposite direction."""
    region: int = 1
    """Side in pixels of the squares or cubes that are replaced together, ranked by the mean of their saliency."""

    def __init__(
        self,
        steps: int | None = None,
        baseline: Baseline | None = None,
        score: str = "probability",
        ties: str = "stable",
        seed: int = 0,
    ) -> None:
        self.steps = None if steps is None else check_integer("steps", steps, 1)
        self.baseline = baseline
        self.score = check_choice("score", score, SCORE_KINDS)
        self.ties = check_choice("ties", ties, TIES)
        self.seed = check_seed(seed)

    def counts(self, size: tuple[int, ...]) -> list[int]:
        """Return the number of replaced regions at each point, for a grid of regions of this size."""
        return steps_of(size, self.steps)

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Compute the curve and its area."""
        scores, fractions = self.curve(evaluation, saliency)
        return xai.MetricResult(auc(scores), scores, fractions)

    def curve(self, evaluation: Evaluation, saliency: xai.Saliency) -> tuple[Float[Tensor, "B S"], Float[Tensor, " S"]]:
        """Return the score at each point, and the fraction of pixels or regions replaced there."""
        baseline = self.protocol_baseline if self.baseline is None else self.baseline
        size = tuple(saliency.values.shape[1:])
        counts = self.counts(region_grid(size, self.region))

        def compute() -> Tensor:
            ends = [
                (evaluation.images, image_scores(evaluation, self.score)),
                (
                    baselines(evaluation, baseline, self.seed),
                    baseline_scores(evaluation, baseline, self.seed, self.score),
                ),
            ]
            (start, first), (finish, last) = reversed(ends) if self.inserts else ends
            ranks = cached_ranks(evaluation, saliency, self.ties, self.seed, self.region)
            return score_curve(evaluation.model_score, start, finish, ranks, counts, (first, last), self.score)

        protocol = (self.inserts, self.region, *counts, baseline, self.score, self.ties, self.seed)
        scores = evaluation.once(("curve", saliency, protocol), compute)
        return scores, torch.tensor(counts, dtype=scores.dtype).to(scores.device, non_blocking=True) / counts[-1]
