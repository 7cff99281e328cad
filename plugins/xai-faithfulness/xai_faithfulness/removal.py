"""What the score loses where sets of pixels are removed: the sets, and so the losses, are the same for all maps."""

import math
from abc import abstractmethod
from collections.abc import Hashable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Baseline, Evaluation, OptionError, resize
from xai_faithfulness.blending import blank_of, mixed_scores, whole_score
from xai_faithfulness.correlation import correlation
from xai_faithfulness.options import at_least, one_of, seed_of
from xai_faithfulness.regions import over_pixels, region_sums


def losses(
    evaluation: Evaluation,
    removed: Bool[Tensor, "N H W"],
    baseline: Baseline,
    kind: str,
    seed: int,
    key: Hashable,
) -> Float[Tensor, "B N"]:
    """By how much each image's score is lower without the pixels of each set, computed once for `key`."""

    def compute() -> Tensor:
        blank = blank_of(evaluation, baseline, seed)
        left = mixed_scores(
            evaluation.model_score, evaluation.images, blank, lambda _, sets: removed[None, sets], len(removed), kind
        )
        return whole_score(evaluation, kind)[:, None] - left

    return evaluation.once(("losses", key, baseline, kind, seed), compute)


def subsets(count: int, n: int, samples: int, seed: int) -> Bool[Tensor, "N F"]:
    """Random subsets of n of `count` features each, on the host, so that they are the same for every device."""
    order = torch.rand(samples, count, generator=torch.Generator().manual_seed(seed))
    return torch.zeros(samples, count, dtype=torch.bool).scatter_(1, order.topk(n).indices, True)


class SubsetCorrelation(xai.Metric):
    """The correlation, over random subsets of n regions, of their relevance with what the score loses without them.

    The relevance of a region is the sum over it of the signed relevance as the method gave it, resized to the image.
    Where all regions are of one size, as pixels are, the correlation is the same for any a * relevance + b with a > 0.

    Parameters
    ----------
    n
        Number of regions in each subset; default: see the metric.
    region
        Side in pixels of the squares that are removed; 1 for pixels.
    samples
        Number of subsets of each size; the same for every image.
    baseline
        What stands for no information: `zero`, `mean`, `blur`, `noise`, or a tensor that broadcasts to [B,C,H,W].
    score
        `logit` of the target, in which relevance adds up, or `probability` (softmax).
    seed
        Seed of the subsets, and of noise.
    """

    def __init__(
        self,
        n: int | None = None,
        region: int = 1,
        samples: int = 100,
        baseline: Baseline = "zero",
        score: str = "logit",
        seed: int = 0,
    ) -> None:
        self.n = None if n is None else at_least(1, "n", n)
        self.region = at_least(1, "region", region)
        self.samples = at_least(2, "samples", samples)
        self.baseline = baseline
        self.score = one_of("score", score, "logit", "probability")
        self.seed = seed_of(seed)

    @abstractmethod
    def sizes(self, grid: tuple[int, int]) -> list[int]:
        """The sizes of subsets of a grid of regions, where n is not given."""

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        """Take the mean of the correlations at each size."""
        size = (evaluation.images.shape[-2], evaluation.images.shape[-1])
        relevance = region_sums(resize(saliency.raw, size), self.region)
        relevance = relevance.masked_fill(saliency.constant[:, None, None], 0)
        grid = (relevance.shape[-2], relevance.shape[-1])
        sizes = self.sizes(grid) if self.n is None else [self.n]
        if max(sizes) >= math.prod(grid):
            raise OptionError(f"n must be less than the number of regions, {math.prod(grid)}; got {max(sizes)}")
        each = [self._correlation(evaluation, relevance, n) for n in sizes]
        return xai.MetricResult(torch.stack(each).mean(0))

    def _correlation(self, evaluation: Evaluation, relevance: Float[Tensor, "B h w"], n: int) -> Float[Tensor, " B"]:
        size = (evaluation.images.shape[-2], evaluation.images.shape[-1])
        key = (n, self.region, self.samples, self.seed)

        def draw() -> Tensor:
            drawn = subsets(relevance[0].numel(), n, self.samples, self.seed)
            return drawn.to(relevance.device, non_blocking=True).unflatten(1, relevance.shape[1:])

        drawn = evaluation.once(("subsets", *key), draw)
        lost = losses(evaluation, over_pixels(drawn, self.region, size), self.baseline, self.score, self.seed, key)
        centered = relevance - relevance.mean((1, 2), keepdim=True)  # what all have adds the same to each subset
        forecast = centered.flatten(1) @ drawn.flatten(1).to(centered.dtype).T
        return correlation(forecast, lost.to(centered.dtype))[0].to(lost.dtype)
