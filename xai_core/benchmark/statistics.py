"""What rows support: means with intervals, ranks, differences of pairs, and whether metrics agree. SciPy computes."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Values = np.ndarray[Any, np.dtype[np.float64]]
LEVEL = 0.05
"""Of a difference that is called supported; intervals hold 1 - LEVEL."""
RESAMPLES = 9999
_SEED = 0


@dataclass(frozen=True)
class Estimate:
    """A mean over images, and the interval that holds 95 % of the means of resampled images."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Standing:
    """How a method does at a metric: its mean, its rank (1 is best, ties share), and how often it failed."""

    method: str
    estimate: Estimate
    rank: float
    failed: int


@dataclass(frozen=True)
class Pair:
    """Two methods at a metric, on the same images.

    Attributes
    ----------
    better, worse
        By their means, whichever the metric's direction.
    difference
        Of the means, better less worse, in the metric's own direction: negative where lower is better.
    p
        Of Wilcoxon's signed-rank test over images, corrected by Holm for all pairs of the metric.
    """

    better: str
    worse: str
    difference: Estimate
    p: float

    @property
    def supported(self) -> bool:
        """Whether the data supports that one is better: the test and the interval say so."""
        return self.p < LEVEL and not self.difference.low <= 0 <= self.difference.high


@dataclass(frozen=True)
class Comparison:
    """The methods of one model at one metric.

    Attributes
    ----------
    images
        How many images all of the standing methods have a score for; nothing else is compared.
    standings
        The best first.
    absent
        Methods without any score, with the error that they gave most often.
    friedman
        The p value of Friedman's test that all methods are alike, with three methods or more.
    critical_difference
        Of mean ranks, by Nemenyi's test: what two methods must be apart to differ; with three methods or more.
    mean_ranks
        Each method's rank, averaged over images.
    """

    model: str
    metric: str
    higher_is_better: bool
    images: int
    standings: Sequence[Standing]
    pairs: Sequence[Pair]
    absent: Mapping[str, str]
    friedman: float | None
    critical_difference: float | None
    mean_ranks: Mapping[str, float]


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau between the rankings that two metrics give of the methods of one model, by their means."""

    model: str
    metrics: tuple[str, str]
    tau: float
    p: float


def compare(
    model: str,
    metric: str,
    scores: Mapping[str, Mapping[int, float]],
    failed: Mapping[str, int],
    absent: Mapping[str, str],
    higher_is_better: bool,
) -> Comparison:
    """Compare methods, by the scores that each gave images, on the images that all have scored."""
    methods = [*scores]
    images = sorted(set.intersection(*(set(of) for of in scores.values()))) if scores else []
    if not images:
        return Comparison(model, metric, higher_is_better, 0, [], [], absent, None, None, {})
    from scipy import stats

    table = np.array([[scores[method][image] for method in methods] for image in images])
    sign = -1.0 if higher_is_better else 1.0
    ranks = stats.rankdata(sign * table.mean(0))
    standings = [
        Standing(method, estimate(table[:, i]), float(ranks[i]), failed.get(method, 0))
        for i, method in enumerate(methods)
    ]
    standings.sort(key=lambda standing: standing.rank)
    several = len(methods) > 2 and len(images) > 1
    by_image = stats.rankdata(sign * table, axis=1).mean(0)
    return Comparison(
        model,
        metric,
        higher_is_better,
        len(images),
        standings,
        pairs(methods, table, ranks),
        absent,
        friedman(table) if several else None,
        critical_difference(len(methods), len(images)) if several else None,
        dict(zip(methods, by_image.tolist(), strict=True)),
    )


def estimate(values: Values) -> Estimate:
    """The mean of values [N], and its percentile bootstrap interval (Efron and Tibshirani, 1993, chapter 13).

    Every call resamples the same images, so that intervals of methods and of their differences are paired.
    """
    mean = float(values.mean())
    if len(values) < 2 or np.ptp(values) == 0:
        return Estimate(mean, mean, mean)
    from scipy import stats

    interval = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=RESAMPLES,
        batch=max(1, 2**22 // len(values)),
        confidence_level=1 - LEVEL,
        method="percentile",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return Estimate(mean, float(interval.low), float(interval.high))


def pairs(methods: Sequence[str], table: Values, ranks: Values) -> list[Pair]:
    """Every pair of the columns of scores [N,methods], with differences of the same images."""
    found = []
    for i, j in itertools.combinations(np.argsort(ranks, kind="stable"), 2):
        difference = table[:, i] - table[:, j]
        found.append((methods[i], methods[j], estimate(difference), wilcoxon(difference)))
    corrected = holm([p for *_, p in found])
    return [Pair(*one[:3], p) for one, p in zip(found, corrected, strict=True)]


def wilcoxon(differences: Values) -> float:
    """The two-sided p value of the signed-rank test, zeros left out; 1 where nothing differs."""
    from scipy import stats

    return float(stats.wilcoxon(differences).pvalue) if differences.any() else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number (Holm, 1979): the k-th smallest of m times m - k + 1, never decreasing."""
    order = np.argsort(p_values, kind="stable")
    corrected, least = np.empty(len(p_values)), 0.0
    for k, place in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - k) * p_values[place]))
        corrected[place] = least
    return [float(p) for p in corrected]


def friedman(table: Values) -> float:
    """The p value that the columns of scores [N,methods] are alike; 1 where every image ranks all the same."""
    from scipy import stats

    if not np.ptp(table, axis=1).any():
        return 1.0
    return float(stats.friedmanchisquare(*table.T).pvalue)


def critical_difference(methods: int, images: int) -> float:
    """The least difference of mean ranks that counts (Nemenyi; Demsar, JMLR 2006, section 3.2.2)."""
    from scipy import stats

    q = stats.studentized_range.ppf(1 - LEVEL, methods, math.inf) / math.sqrt(2)  # type: ignore[attr-defined] # made when scipy.stats is imported
    return float(q * math.sqrt(methods * (methods + 1) / (6 * images)))


def agreement(one: Comparison, other: Comparison) -> Agreement | None:
    """How far two metrics rank the same methods alike; None with fewer than three methods, or where one ranks none."""
    from scipy import stats

    ranks = [{standing.method: standing.rank for standing in each.standings} for each in (one, other)]
    methods = [method for method in ranks[0] if method in ranks[1]]
    if len(methods) < 3:
        return None
    found = stats.kendalltau(*([of[method] for method in methods] for of in ranks))
    if math.isnan(found.statistic):
        return None
    return Agreement(one.model, (one.metric, other.metric), float(found.statistic), float(found.pvalue))
