"""ROAD, remove and debias."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_core.plugin import SCORE_KINDS, Evaluation, ModelScorer, OptionError, check_choice, check_seed
from xai_faithfulness.batch_cache import baselines
from xai_faithfulness.imputation import impute
from xai_faithfulness.ranking import TIES, cached_ranks

PERCENTAGES = (10, 20, 30, 40, 50, 60, 70, 80, 90)
NOISE = 0.01
"""Standard deviation of the noise that is added to imputed pixels, in units of the model's input."""


def road_curve(
    model_score: ModelScorer,
    images: Float[Tensor, "B C H W"],
    ranks: Int[Tensor, "B H W"],
    counts: Sequence[int],
    noise: Float[Tensor, "B C H W"],
    kind: str = "probability",
) -> Float[Tensor, "B P"]:
    """Score images whose first `counts[p]` pixels by rank are imputed, with added noise.

    The images of all points are imputed and passed through the model in blocks.
    """
    removed = torch.tensor(counts).to(ranks.device, non_blocking=True)
    indices = torch.arange(len(images), device=images.device)
    scores = images.new_empty((len(images), len(counts)), dtype=torch.promote_types(images.dtype, torch.float32))
    for part, points in model_score.tiles(len(counts)):
        missing = ranks[part, None] < removed[points, None, None]  # [images,points,H,W]
        of = indices[part].repeat_interleave(missing.shape[1])
        missing = missing.flatten(0, 1)
        imputed = impute(images[of], missing) + missing[:, None] * noise[of]
        scores[part, points] = model_score(imputed, of, kind).view(-1, points.stop - points.start)
    return scores


class ROAD(xai.Metric):
    """ROAD: the score while pixels are removed in the order of their relevance and imputed from their neighbors.

    Removed pixels with a fixed color reveal the shape of the removed region to the model. A noisy mean of the neighbors
    reveals less. `morf` removes the most relevant pixels first, and a faithful map makes the score fall: lower is
    better. `lerf` removes the least relevant pixels first: higher is better. `combined` is (lerf - morf) / 2: higher is
    better. The curve has one point for each percentage, and the value is their mean.

    Source: Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML 2022.

    Parameters
    ----------
    order
        `combined`, `morf` or `lerf`.
    percentages
        Percentages of removed pixels, in (0, 100]: one number, a list, or numbers joined by plus signs (`20+40+60`).
    score
        `probability` (softmax) or `logit` of the target.
    ties
        Order of equally salient pixels: `stable` (by index) or `random` (by `seed`).
    seed
        Random seed for the order of ties and for the noise, which is the same for every image.
    """

    name = "road"
    expected_failures: ClassVar[Mapping[str, str]] = {
        "avoids_host_transfers": "the solver checks, with a delay of some steps, whether all images have converged",
    }

    def __init__(
        self,
        order: str = "combined",
        percentages: float | str | Sequence[float] = PERCENTAGES,
        score: str = "probability",
        ties: str = "stable",
        seed: int = 0,
    ) -> None:
        self.order = check_choice("order", order, ("combined", "morf", "lerf"))
        self.higher_is_better = order != "morf"
        self.percentages = percentages
        self.score = check_choice("score", score, SCORE_KINDS)
        self.ties = check_choice("ties", ties, TIES)
        self.seed = check_seed(seed)
        self._fractions = parse_percentages(percentages)

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Compute the curve of one order, or of both."""
        if self.order == "combined":
            lerf, morf = (self._curve(evaluation, saliency, order) for order in ("lerf", "morf"))
            curve = (lerf - morf) / 2
        else:
            curve = self._curve(evaluation, saliency, self.order)
        fractions = torch.tensor(self._fractions, dtype=curve.dtype).to(curve.device, non_blocking=True)
        return xai.MetricResult(curve.mean(1), curve, fractions)

    def _curve(self, evaluation: Evaluation, saliency: xai.Saliency, order: str) -> Float[Tensor, "B P"]:
        images, seed = evaluation.images, self.seed
        ranks = cached_ranks(evaluation, saliency, self.ties, seed)
        noise = baselines(evaluation, "noise", seed)
        pixels = ranks[0].numel()
        counts = [round(fraction * pixels) for fraction in self._fractions]
        ordered = ranks if order == "morf" else pixels - 1 - ranks
        return evaluation.once(
            ("road", saliency, order, self._fractions, self.score, self.ties, seed),
            lambda: road_curve(evaluation.model_score, images, ordered, counts, NOISE * noise, self.score),
        )


def parse_percentages(percentages: float | str | Sequence[float]) -> tuple[float, ...]:
    """Return percentages, given in any form, as increasing fractions.

    Raises
    ------
    OptionError
        If a percentage is not a number in (0, 100], or occurs twice.
    """
    items = percentages.split("+") if isinstance(percentages, str) else percentages
    try:
        numbers = sorted(float(item) for item in ([items] if isinstance(items, float | int) else items))
    except (TypeError, ValueError):
        numbers = []
    if not numbers or len({*numbers}) < len(numbers) or not all(0 < number <= 100 for number in numbers):
        raise OptionError(f"percentages must be distinct numbers in (0, 100], such as 20+40+60, got {percentages!r}")
    return tuple(number / 100 for number in numbers)
