"""Infidelity."""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Baseline, Evaluation, resize
from xai_faithfulness.correlation import direction
from xai_faithfulness.options import at_least, flag, one_of, seed_of
from xai_faithfulness.regions import fitting
from xai_faithfulness.removal import losses


class Infidelity(xai.Metric):
    """Infidelity: the squared error of relevance as a forecast of what the score loses without a square of the image.

    The mean over random squares I of (I . R - (f(x) - f(x without I)))^2, with I . R the sum of the relevance in the
    square. R is the signed relevance as the method gave it, since the sum depends on where zero is, resized to the
    image such that its own sum stays what it is. Its unit is the method's own; with `normalize` it is first multiplied
    by the factor that makes the error least, which may be negative. Lower is better, in the unit of the score squared;
    0 for the exact contributions of a linear model, and for a constant model where normalized. Where the relevance is
    zero, the mean of the squared losses.

    Source: Yeh et al., "On the (In)fidelity and Sensitivity of Explanations", NeurIPS 2019, definition 2.1, with its
    square removal.

    Parameters
    ----------
    region
        Side of the squares in pixels; they lie anywhere inside the image.
    samples
        Number of squares; the same for every image.
    baseline
        What stands for no information: `zero`, `mean`, `blur`, `noise`, or a tensor that broadcasts to [B,C,H,W].
    score
        `logit` of the target, in which relevance adds up, or `probability` (softmax).
    normalize
        Whether the relevance is scaled to fit first.
    seed
        Seed of the squares, and of noise.
    """

    name = "infidelity"
    higher_is_better = False
    expected_failures: ClassVar[Mapping[str, str]] = {
        "better_map_scores_better": "a map is scaled by the best factor, so that its reverse does as well",
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
        self.region = at_least(1, "region", region)
        self.samples = at_least(1, "samples", samples)
        self.baseline = baseline
        self.score = one_of("score", score, "logit", "probability")
        self.normalize = flag("normalize", normalize)
        self.seed = seed_of(seed)

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Compare sums of relevance with losses."""
        size = (evaluation.images.shape[-2], evaluation.images.shape[-1])
        key = ("squares", self.region, self.samples, self.seed)
        removed = evaluation.once(
            key, lambda: squares(self.region, size, self.samples, self.seed).to(evaluation.images.device)
        )
        lost = losses(evaluation, removed, self.baseline, self.score, self.seed, key)
        relevance = spread(saliency.raw, size).flatten(1)
        forecast = relevance @ removed.flatten(1).to(relevance.dtype).T
        if self.normalize:
            forecast = fitted(forecast, lost)
        return xai.MetricResult((forecast - lost).square().mean(1))


def spread(maps: Float[Tensor, "B h w"], size: tuple[int, int]) -> Float[Tensor, "B H W"]:
    """Resize maps such that they add up to what they did: a pixel has its share of what its place has."""
    return resize(maps, size) * (math.prod(maps.shape[1:]) / math.prod(size))


def squares(side: int, size: tuple[int, int], samples: int, seed: int) -> Bool[Tensor, "N H W"]:
    """Squares at random places inside an image, on the host, so that they are the same for every device.

    Raises
    ------
    OptionError
        Where a square is larger than the image.
    """
    side = fitting(side, size)
    generator = torch.Generator().manual_seed(seed)
    rows, columns = (
        (places >= first) & (places < first + side)
        for places, first in (
            (torch.arange(length), torch.randint(length - side + 1, (samples, 1), generator=generator))
            for length in size
        )
    )
    return rows[:, :, None] & columns[:, None]


def fitted(forecast: Float[Tensor, "B N"], truth: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Each forecast times the factor that brings it closest to the truth: the truth's projection on it."""
    way = direction(forecast)
    return (way * truth).sum(1, keepdim=True) * way
