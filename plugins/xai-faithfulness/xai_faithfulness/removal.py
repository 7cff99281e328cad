"""Drops in the score when sets of pixels are removed. The sets are the same for all maps, and so are the drops."""

import math
from abc import abstractmethod
from collections.abc import Hashable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import (
    SCORE_KINDS,
    Baseline,
    Evaluation,
    OptionError,
    blended_scores,
    check_choice,
    check_integer,
    check_seed,
    resize,
)
from xai_faithfulness.batch_cache import baselines, image_scores
from xai_faithfulness.correlation import correlation
from xai_faithfulness.regions import expand_to_pixels, region_sums


def score_drops(
    evaluation: Evaluation,
    removed: Bool[Tensor, "N *size"],
    baseline: Baseline,
    kind: str,
    seed: int,
    key: Hashable,
) -> Float[Tensor, "B N"]:
    """Return the drop in each image's score without the pixels of each set, computed once per batch for `key`."""

    def compute() -> Tensor:
        replacement = baselines(evaluation, baseline, seed)
        scores = blended_scores(
            evaluation.model_score,
            evaluation.images,
            replacement,
            lambda _, sets: removed[None, sets],
            len(removed),
            kind,
        )
        return image_scores(evaluation, kind)[:, None] - scores

    return evaluation.once(("drops", key, baseline, kind, seed), compute)


def random_subsets(count: int, n: int, samples: int, seed: int) -> Bool[Tensor, "N F"]:
    """Return random subsets of n of `count` features, drawn on the host to be the same on every device."""
    order = torch.rand(samples, count, generator=torch.Generator().manual_seed(seed))
    return torch.zeros(samples, count, dtype=torch.bool).scatter_(1, order.topk(n).indices, True)


class SubsetCorrelation(xai.Metric):
    """The correlation of relevance and score drop over random subsets of n removed regions.

    The relevance of a region is the sum of the method's signed relevance over the region, resized to the image. If all
    regions have the same size, the correlation is the same for the relevance r and for a r + b with a > 0.

    Parameters
    ----------
    n
        Number of regions in each subset. The default depends on the metric.
    region
        Side in pixels of the squares that are removed. With 1, pixels are removed.
    samples
        Number of subsets of each size, which are the same for every image.
    baseline
        Replacement of removed pixels: `zero`, `mean`, `blur`, `min`, `max`, `noise`, or a tensor that broadcasts
        to the images.
    score
        `logit` of the target, for which relevance is additive, or `probability` (softmax).
    seed
        Random seed of the subsets and of the noise.
    """

    volumes = True

    def __init__(
        self,
        n: int | None = None,
        region: int = 1,
        samples: int = 100,
        baseline: Baseline = "zero",
        score: str = "logit",
        seed: int = 0,
    ) -> None:
        self.n = None if n is None else check_integer("n", n, 1)
        self.region = check_integer("region", region, 1)
        self.samples = check_integer("samples", samples, 2)
        self.baseline = baseline
        self.score = check_choice("score", score, SCORE_KINDS)
        self.seed = check_seed(seed)

    @abstractmethod
    def sizes(self, grid: tuple[int, ...]) -> list[int]:
        """Return the default sizes of subsets for a grid of regions."""

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Average the correlations over the sizes."""
        size = tuple(evaluation.images.shape[2:])
        relevance = region_sums(resize(saliency.raw, size), self.region)
        relevance = relevance.masked_fill(saliency.constant.view(-1, *[1] * len(size)), 0)
        grid = tuple(relevance.shape[1:])
        sizes = self.sizes(grid) if self.n is None else [self.n]
        if max(sizes) >= math.prod(grid):
            raise OptionError(f"n must be less than the number of regions ({math.prod(grid)}); got {max(sizes)}")
        correlations = [self._correlation(evaluation, relevance, n) for n in sizes]
        return xai.MetricResult(torch.stack(correlations).mean(0))

    def _correlation(self, evaluation: Evaluation, relevance: Float[Tensor, "B *grid"], n: int) -> Float[Tensor, " B"]:
        size = tuple(evaluation.images.shape[2:])
        key = (n, self.region, self.samples, self.seed)

        def draw() -> Tensor:
            subsets = random_subsets(relevance[0].numel(), n, self.samples, self.seed)
            return subsets.to(relevance.device, non_blocking=True).unflatten(1, relevance.shape[1:])

        subsets = evaluation.once(("subsets", *key), draw)
        removed = expand_to_pixels(subsets, self.region, size)
        drops = score_drops(evaluation, removed, self.baseline, self.score, self.seed, key)
        centered = relevance - relevance.mean(
            tuple(range(1, relevance.ndim)), keepdim=True
        )  # a constant changes the sums of all subsets equally
        predicted = centered.flatten(1) @ subsets.flatten(1).to(centered.dtype).T
        return correlation(predicted, drops.to(centered.dtype))[0].to(drops.dtype)
