"""Infidelity."""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import (
    SCORE_KINDS,
    Baseline,
    Evaluation,
    check_choice,
    check_flag,
    check_integer,
    check_seed,
    resize,
)
from xai_faithfulness.correlation import unit_vectors
from xai_faithfulness.regions import region_sides
from xai_faithfulness.removal import score_drops


class Infidelity(xai.Metric):
    """Infidelity: the squared error of relevance as a prediction of the score drop if a square of the image is removed.

    It is the mean over random squares I of (I . R - (f(x) - f(x without I)))^2, with I . R the sum of the relevance in
    the square. R is the method's signed relevance, because the sum depends on the zero point. It is resized to the
    image such that its total sum is preserved.

    Relevance has a unit specific to the method. With `normalize`, it is first multiplied by the factor that minimizes
    the error, which may be negative. Lower is better, in the unit of the score squared. The exact contributions of a
    linear model result in 0, and so does a constant model if the relevance is normalized. If the relevance is zero, the
    value is the mean of the squared drops.

    Source: Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019, definition 2.1, with its
    square removal.

    Parameters
    ----------
    region
        Side of the squares in pixels. Their positions inside the image are random.
    samples
        Number of squares, which are the same for every image.
    baseline
        Replacement of removed pixels: `zero`, `mean`, `blur`, `min`, `max`, `noise`, or a tensor that broadcasts
        to [B,C,H,W].
    score
        `logit` of the target, for which relevance is additive, or `probability` (softmax).
    normalize
        Whether the relevance is first scaled to minimize the error.
    seed
        Random seed of the squares and of the noise.
    """

    name = "infidelity"
    higher_is_better = False
    expected_failures: ClassVar[Mapping[str, str]] = {
        "better_map_scores_better": "maps are scaled by the best factor, so a map and its negative have the same score",
    }

    def __init__(
        self,
        region: int = 16,
        samples: int = 100,
        baseline: Baseline = "zero",
        score: str = "logit",
        normalize: bool = True,
        seed: int = 0,
    ) -> None:
        self.region = check_integer("region", region, 1)
        self.samples = check_integer("samples", samples, 1)
        self.baseline = baseline
        self.score = check_choice("score", score, SCORE_KINDS)
        self.normalize = check_flag("normalize", normalize)
        self.seed = check_seed(seed)

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Compare the sums of relevance with the drops in the score."""
        size = (evaluation.images.shape[-2], evaluation.images.shape[-1])
        key = ("squares", self.region, self.samples, self.seed)
        removed = evaluation.once(
            key, lambda: random_squares(self.region, size, self.samples, self.seed).to(evaluation.images.device)
        )
        drops = score_drops(evaluation, removed, self.baseline, self.score, self.seed, key)
        relevance = resize_preserving_sum(saliency.raw, size).flatten(1)
        predicted = relevance @ removed.flatten(1).to(relevance.dtype).T
        if self.normalize:
            predicted = scaled_to_fit(predicted, drops)
        return xai.MetricResult((predicted - drops).square().mean(1))


def resize_preserving_sum(maps: Float[Tensor, "B h w"], size: tuple[int, int]) -> Float[Tensor, "B H W"]:
    """Resize maps such that their sum is preserved: each cell distributes its value over its pixels."""
    return resize(maps, size) * (math.prod(maps.shape[1:]) / math.prod(size))


def random_squares(side: int, size: tuple[int, int], samples: int, seed: int) -> Bool[Tensor, "N H W"]:
    """Return squares at random positions inside an image, drawn on the host to be the same on every device.

    Raises
    ------
    OptionError
        If a square is larger than the image.
    """
    region_sides(side, size)
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (
        (pixels >= first) & (pixels < first + side)
        for pixels, first in (
            (torch.arange(length), torch.randint(length - side + 1, (samples, 1), generator=generator))
            for length in size
        )
    )
    return rows[:, :, None] & columns[:, None]


def scaled_to_fit(predicted: Float[Tensor, "B N"], actual: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Scale each row of predictions by the factor of least squared error: the projection of `actual` on the row."""
    direction = unit_vectors(predicted)
    return (direction * actual).sum(1, keepdim=True) * direction
