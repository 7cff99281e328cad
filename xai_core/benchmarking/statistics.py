"""What scores support: means with intervals, ranks, differences of pairs, and whether metrics agree. SciPy computes."""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xai_core.benchmarking.bootstrap import Values, resampled_means

LEVEL = 0.05
"""Of a difference that is called supported; intervals hold 1 - LEVEL."""
ROUNDING = 1e-6
"""Differences up to this share of the scores' median size are none; the mean may be that of one beyond all others."""


@dataclass(frozen=True)
class Scores:
    """What a metric gave the methods of a model.

    Attributes
    ----------
    values
        [N,methods], NaN where there is no score.
    errors
        How many images each of the methods failed on, by error.
    """

    model: str
    metric: str
    higher_is_better: bool
    methods: Sequence[str]
    values: Values
    errors: Mapping[str, Counter[str]]

    def shared(self) -> tuple[list[str], Values]:
        """The methods that are compared, and their scores [n,methods] of the images that all of these have scored.

        A method that failed on more than half of the images that any method has a score for is not compared.
        """
        scored = ~np.isnan(self.values)
        counts, images = scored.sum(0), scored.any(1).sum()
        compared = (counts > 0) & (2 * counts >= images)
        common = scored[:, compared].all(1) & compared.any()
        methods = [method for method, kept in zip(self.methods, compared, strict=True) if kept]
        return methods, self.values[np.ix_(common, compared)]


@dataclass(frozen=True)
class Estimate:
    """A mean over images, and the interval that holds 95 % of the means of resampled images; none of one image."""

    mean: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Standing:
    """How a method does at a metric: its mean, its rank (1 is best, ties share), and how often it failed."""

    method: str
    estimate: Estimate
    rank: float
    failed: int


@dataclass(frozen=True)
class Absent:
    """A method that is not compared: how many images it has a score for, and on how many it failed, how most often."""

    scored: int
    failed: int
    error: str | None


@dataclass(frozen=True)
class Pair:
    """Two methods at a metric, on the same images.

    Attributes
    ----------
    better, worse
        By their means, whichever the metric's direction.
    difference
        Of the means, better less worse, in the metric's own direction: negative where lower is better.
    ranks
        The rank-biserial correlation of the signed ranks of the images' differences (Kerby, 2014): 1 where every image
        is for `better`, -1 where every image is for `worse`, 0 where they balance.
    p
        Of Wilcoxon's signed-rank test over images, corrected by Holm for all pairs of the metric.
    """

    better: str
    worse: str
    difference: Estimate
    ranks: float
    p: float

    @property
    def supported(self) -> bool:
        """Whether the data supports that one is better: the test, its direction and the interval say so."""
        low, high = self.difference.low, self.difference.high
        return self.p < LEVEL and self.ranks > 0 and low is not None and high is not None and not low <= 0 <= high


@dataclass(frozen=True)
class Comparison:
    """The methods of one model at one metric.

    Attributes
    ----------
    images
        How many images all of the standing methods have a score for; nothing else is compared.
    scored
        How many images any method has a score for.
    standings
        The best first.
    absent
        Methods that are not compared: they have no score, or failed on more than half of the images that any method
        has a score for; all of them, where that leaves no image in common.
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
    scored: int
    standings: Sequence[Standing]
    pairs: Sequence[Pair]
    absent: Mapping[str, Absent]
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


def compare(scores: Sequence[Scores]) -> list[Comparison]:
    """Compare methods, at each metric on the images that all of its methods have scored."""
    shared = [one.shared() for one in scores]
    resampled = resampled_means([table for _, table in shared])
    return [
        _compared(one, methods, table, means)
        for one, (methods, table), means in zip(scores, shared, resampled, strict=True)
    ]


def _compared(scores: Scores, methods: Sequence[str], table: Values, means: Values) -> Comparison:
    images = len(table), int((~np.isnan(scores.values)).any(1).sum())
    about = scores.model, scores.metric, scores.higher_is_better, *images
    if not len(table):
        return Comparison(*about, [], [], _absent(scores, ()), None, None, {})
    from scipy import stats

    direction = 1 if scores.higher_is_better else -1
    sizes = np.abs(table[table != 0])
    nothing = ROUNDING * float(np.median(sizes)) if len(sizes) else 0.0
    settled = tied(table, nothing)
    ranks = stats.rankdata(-direction * tied(table.mean(0)[None], nothing)[0])
    order = np.argsort(ranks, kind="stable")
    ordered = [methods[i] for i in order]
    standings = [
        Standing(
            methods[i],
            estimate(float(table[:, i].mean()), means[:, i]),
            float(ranks[i]),
            scores.errors[methods[i]].total(),
        )
        for i in order
    ]
    several = len(methods) > 2 and len(table) > 1
    by_image = stats.rankdata(-direction * settled, axis=1).mean(0)
    return Comparison(
        *about,
        standings,
        pairs(ordered, settled[:, order], means[:, order], direction, nothing),
        _absent(scores, methods),
        friedman(settled) if several else None,
        critical_difference(len(methods), len(table)) if several else None,
        dict(zip(methods, by_image.tolist(), strict=True)),
    )


def _absent(scores: Scores, compared: Collection[str]) -> dict[str, Absent]:
    found = {}
    for method, column in zip(scores.methods, scores.values.T, strict=True):
        if method not in compared:
            errors = scores.errors[method]
            scored = int((~np.isnan(column)).sum())
            found[method] = Absent(scored, errors.total(), errors.most_common(1)[0][0] if errors else None)
    return found


def estimate(mean: float, resampled: Values, nothing: float = 0) -> Estimate:
    """A mean and its percentile interval among resampled means [R] (Efron and Tibshirani, 1993, chapter 13).

    Means and ends up to `nothing` are zero.
    """
    ends = np.quantile(resampled, [LEVEL / 2, 1 - LEVEL / 2]).tolist() if len(resampled) else [None, None]
    return Estimate(*(end if end is None or abs(end) > nothing else 0.0 for end in (mean, *ends)))


def tied(table: Values, nothing: float) -> Values:
    """Scores [N,methods] of which those of an image that are next to each other by at most `nothing` are the same."""
    order = np.argsort(table, axis=1, kind="stable")
    ascending = np.take_along_axis(table, order, 1)
    apart = np.diff(ascending, axis=1, prepend=-np.inf) > nothing
    first = np.maximum.accumulate(np.where(apart, np.arange(table.shape[1]), 0), axis=1)
    same = np.empty_like(table)
    np.put_along_axis(same, order, np.take_along_axis(ascending, first, 1), 1)
    return same


def pairs(methods: Sequence[str], table: Values, means: Values, direction: int, nothing: float) -> list[Pair]:
    """Every pair of methods, in the order given: of scores [N,methods], and of resampled means [R,methods]."""
    found = []
    for i, j in itertools.combinations(range(len(methods)), 2):
        differences = table[:, i] - table[:, j]
        difference = estimate(float(differences.mean()), means[:, i] - means[:, j], nothing)
        ranks = rank_biserial(direction * differences)
        found.append((methods[i], methods[j], difference, ranks, wilcoxon(differences)))
    corrected = holm([p for *_, p in found])
    return [Pair(*one[:4], p) for one, p in zip(found, corrected, strict=True)]


def rank_biserial(differences: Values) -> float:
    """The ranks of positive differences less those of negative ones, of all ranks, zeros left out; in [-1,1]."""
    from scipy import stats

    differences = differences[differences != 0]
    ranks = stats.rankdata(np.abs(differences))
    return float(np.sign(differences) @ ranks / ranks.sum()) if len(ranks) else 0.0


def wilcoxon(differences: Values) -> float:
    """The two-sided p value of the signed-rank test, zeros left out first, as by Wilcoxon; 1 where nothing differs."""
    from scipy import stats

    differences = differences[differences != 0]
    return float(stats.wilcoxon(differences).pvalue) if len(differences) else 1.0


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
