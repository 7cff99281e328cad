"""ROAD, remove and debias."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation, ModelScorer, OptionError
from xai_faithfulness.blending import blank_of
from xai_faithfulness.imputation import impute
from xai_faithfulness.options import one_of, seed_of
from xai_faithfulness.ranking import ranks_of

PERCENTAGES = (10, 20, 30, 40, 50, 60, 70, 80, 90)
NOISE = 0.01
"""Standard deviation of what is added to imputed pixels, in the units of the model's input."""


def road_curve(
    score: ModelScorer,
    images: Float[Tensor, "B C H W"],
    ranks: Int[Tensor, "B H W"],
    counts: Sequence[int],
    noise: Float[Tensor, "B C H W"],
    kind: str = "probability",
) -> Float[Tensor, "B P"]:
    """Score images whose first `counts[p]` pixels by rank are imputed, with noise on them.

    Images x counts are imputed and go through the model in blocks.
    """
    removed = torch.tensor(counts).to(ranks.device, non_blocking=True)
    numbers = torch.arange(len(images), device=images.device)
    scores = images.new_empty((len(images), len(counts)), dtype=torch.promote_types(images.dtype, torch.float32))
    for which, points in score.tiles(len(counts)):
        missing = ranks[which, None] < removed[points, None, None]  # [images,points,H,W]
        of = numbers[which].repeat_interleave(missing.shape[1])
        missing = missing.flatten(0, 1)
        filled = impute(images[of], missing) + missing[:, None] * noise[of]
        scores[which, points] = score(filled, of, kind).view(-1, points.stop - points.start)
    return scores


class ROAD(xai.Metric):
    """ROAD: the score while pixels are removed in order and replaced by what their neighbors suggest.

    A pixel that is merely blanked tells the model where it was; a noisy mean of its neighbors tells less. `morf` takes
    the most relevant first, and a faithful map makes the score fall: lower is better. `lerf` takes the least relevant
    first: higher is better. `combined` is (lerf - morf) / 2, higher is better. The value is the mean over the
    percentages, the curve has one point for each.

    Source: Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML 2022.

    Parameters
    ----------
    order
        `combined`, `morf` or `lerf`.
    percentages
        Of the pixels that are removed, above 0 up to 100: one number, a list, or several as `20+40+60`.
    score
        `probability` (softmax) or `logit` of the target.
    ties
        Order of equally salient pixels: `stable` (by index) or `random` (by `seed`).
    seed
        Seed of random ties and of the noise, which is the same for every image.
    """

    name = "road"
    expected_failures: ClassVar[Mapping[str, str]] = {
        "avoids_host_transfers": "the solver asks, some steps late, whether all images have converged",
    }

    def __init__(
        self,
        order: str = "combined",
        percentages: float | str | Sequence[float] = PERCENTAGES,
        score: str = "probability",
        ties: str = "stable",
        seed: int = 0,
    ) -> None:
        self.order = one_of("order", order, "combined", "morf", "lerf")
        self.higher_is_better = order != "morf"
        self.percentages = percentages
        self.score = one_of("score", score, "probability", "logit")
        self.ties = one_of("ties", ties, "stable", "random")
        self.seed = seed_of(seed)
        self._shares = shares(percentages)

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Follow the score along one order or both."""
        if self.order == "combined":
            lerf, morf = (self._curve(evaluation, saliency, order) for order in ("lerf", "morf"))
            curve = (lerf - morf) / 2
        else:
            curve = self._curve(evaluation, saliency, self.order)
        fractions = torch.tensor(self._shares, dtype=curve.dtype).to(curve.device, non_blocking=True)
        return xai.MetricResult(curve.mean(1), curve, fractions)

    def _curve(self, evaluation: Evaluation, saliency: xai.Saliency, order: str) -> Float[Tensor, "B P"]:
        images, seed = evaluation.images, self.seed
        ranks = ranks_of(evaluation, saliency, self.ties, seed)
        noise = blank_of(evaluation, "noise", seed)
        pixels = ranks[0].numel()
        counts = [round(share * pixels) for share in self._shares]
        ordered = ranks if order == "morf" else pixels - 1 - ranks
        return evaluation.once(
            ("road", saliency, order, self._shares, self.score, self.ties, seed),
            lambda: road_curve(evaluation.model_score, images, ordered, counts, NOISE * noise, self.score),
        )


def shares(percentages: float | str | Sequence[float]) -> tuple[float, ...]:
    """Percentages, however they are given, as shares in increasing order.

    Raises
    ------
    OptionError
        Where one is not a number above 0 up to 100, or is there twice.
    """
    given = percentages.split("+") if isinstance(percentages, str) else percentages
    try:
        numbers = sorted(float(one) for one in ([given] if isinstance(given, float | int) else given))
    except (TypeError, ValueError):
        numbers = []
    if not numbers or len({*numbers}) < len(numbers) or not all(0 < number <= 100 for number in numbers):
        raise OptionError(
            f"percentages must be numbers above 0 up to 100, each once, such as 20+40+60; got {percentages!r}"
        )
    return tuple(number / 100 for number in numbers)
