"""Comparison of methods by their scores, and of metrics by their rankings."""

import itertools
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xai_core.benchmarking.bootstrap import Values, resampled_means
from xai_core.benchmarking.statistics import (
    LEVEL,
    Estimate,
    critical_difference,
    estimate,
    friedman,
    holm,
    merge_ties,
    rank_biserial,
    wilcoxon,
)

TIE = 1e-6
"""Scores that differ by at most this fraction of the median absolute non-zero score are ties."""


@dataclass(frozen=True)
class ScoreMatrix:
    """The scores of a model's methods by one metric.

    Attributes
    ----------
    model, metric, methods
        Specs of the model, the metric and the methods.
    higher_is_better
        Direction of the metric.
    values
        [N,methods] scores. NaN marks a missing score.
    errors
        For each method, how many images failed with each error message.
    """

    model: str
    metric: str
    higher_is_better: bool
    methods: Sequence[str]
    values: Values
    errors: Mapping[str, Counter[str]]

    def shared(self) -> tuple[list[str], Values]:
        """Return the compared methods, and their scores [n,methods] of the images with a score from each method.

        A method is excluded if it failed on more than half of the images with a score from any method.
        """
        scored = ~np.isnan(self.values)
        counts, images = scored.sum(0), scored.any(1).sum()
        compared = (counts > 0) & (2 * counts >= images)
        common = scored[:, compared].all(1) & compared.any()
        methods = [method for method, is_compared in zip(self.methods, compared, strict=True) if is_compared]
        return methods, self.values[np.ix_(common, compared)]


@dataclass(frozen=True)
class Standing:
    """A method's result by one metric: mean score, rank of the mean, and failed images.

    Rank 1 is best. Methods with equal means share the mean of their ranks.
    """

    method: str
    estimate: Estimate
    rank: float
    failed: int


@dataclass(frozen=True)
class ExcludedMethod:
    """A method that is not compared: its numbers of scores and of failed images, and its most frequent error."""

    scored: int
    failed: int
    error: str | None


@dataclass(frozen=True)
class MethodPair:
    """Two methods compared by one metric on the same images.

    Attributes
    ----------
    better, worse
        The methods, ordered by their mean scores in the direction of the metric.
    difference
        Mean score of `better` minus mean score of `worse`. It is negative if lower scores are better.
    rank_biserial
        Matched-pairs rank-biserial correlation (Kerby, 2014), in [-1,1]: 1 if `better` is better on every image, -1
        if `worse` is.
    p
        p-value of the Wilcoxon signed-rank test over images, with Holm's correction for all pairs of the metric.
    """

    better: str
    worse: str
    difference: Estimate
    rank_biserial: float
    p: float

    @property
    def supported(self) -> bool:
        """Return whether the test, the sign of the rank correlation and the interval all support the order."""
        low, high = self.difference.low, self.difference.high
        significant = self.p < LEVEL and self.rank_biserial > 0
        return significant and low is not None and high is not None and not low <= 0 <= high


@dataclass(frozen=True)
class MethodComparison:
    """Comparison of the methods of one model by one metric.

    Attributes
    ----------
    model, metric
        Specs of the model and the metric.
    higher_is_better
        Direction of the metric.
    images
        Number of images with a score from every compared method. Only these are compared.
    scored
        Number of images with a score from any method.
    standings
        The compared methods, best first.
    pairs
        Every pair of compared methods.
    excluded
        The methods that are not compared. They failed on more than half of the images with a score from any method. If
        no image has a score from every method, all methods are excluded.
    friedman
        p-value of Friedman's test that all methods are equal. None with fewer than three methods or two images.
    critical_difference
        Smallest difference between mean ranks that is significant by Nemenyi's test. None if `friedman` is None.
    mean_ranks
        Rank of each method on each image, averaged over images.
    """

    model: str
    metric: str
    higher_is_better: bool
    images: int
    scored: int
    standings: Sequence[Standing]
    pairs: Sequence[MethodPair]
    excluded: Mapping[str, ExcludedMethod]
    friedman: float | None
    critical_difference: float | None
    mean_ranks: Mapping[str, float]


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau, with its p-value, between the rankings of a model's methods by the means of two metrics."""

    model: str
    metrics: tuple[str, str]
    tau: float
    p: float


def compare(matrices: Sequence[ScoreMatrix]) -> list[MethodComparison]:
    """Compare methods by each metric, on the images for which all compared methods have a score."""
    shared = [matrix.shared() for matrix in matrices]
    resampled = resampled_means([table for _, table in shared])
    return [
        _compare(matrix, methods, table, means)
        for matrix, (methods, table), means in zip(matrices, shared, resampled, strict=True)
    ]


def _compare(matrix: ScoreMatrix, methods: Sequence[str], table: Values, means: Values) -> MethodComparison:
    images = len(table), int((~np.isnan(matrix.values)).any(1).sum())
    header = matrix.model, matrix.metric, matrix.higher_is_better, *images
    if not len(table):
        return MethodComparison(*header, [], [], _excluded(matrix, ()), None, None, {})
    from scipy import stats

    direction = 1 if matrix.higher_is_better else -1
    sizes = np.abs(table[table != 0])
    tolerance = TIE * float(np.median(sizes)) if len(sizes) else 0.0
    with_ties = merge_ties(table, tolerance)
    ranks = stats.rankdata(-direction * merge_ties(table.mean(0)[None], tolerance)[0])
    order = np.argsort(ranks, kind="stable")
    ordered = [methods[i] for i in order]
    standings = [
        Standing(
            methods[i],
            estimate(float(table[:, i].mean()), means[:, i]),
            float(ranks[i]),
            matrix.errors[methods[i]].total(),
        )
        for i in order
    ]
    enough = len(methods) > 2 and len(table) > 1
    mean_ranks = stats.rankdata(-direction * with_ties, axis=1).mean(0)
    return MethodComparison(
        *header,
        standings,
        pairs(ordered, with_ties[:, order], means[:, order], direction, tolerance),
        _excluded(matrix, methods),
        friedman(with_ties) if enough else None,
        critical_difference(len(methods), len(table)) if enough else None,
        dict(zip(methods, mean_ranks.tolist(), strict=True)),
    )


def _excluded(matrix: ScoreMatrix, compared: Collection[str]) -> dict[str, ExcludedMethod]:
    excluded = {}
    for method, column in zip(matrix.methods, matrix.values.T, strict=True):
        if method not in compared:
            errors = matrix.errors[method]
            scored = int((~np.isnan(column)).sum())
            most_frequent = errors.most_common(1)[0][0] if errors else None
            excluded[method] = ExcludedMethod(scored, errors.total(), most_frequent)
    return excluded


def pairs(methods: Sequence[str], table: Values, means: Values, direction: int, tolerance: float) -> list[MethodPair]:
    """Compare every pair of methods, best first, from scores [N,methods] and resampled means [R,methods]."""
    uncorrected = []
    for i, j in itertools.combinations(range(len(methods)), 2):
        differences = table[:, i] - table[:, j]
        difference = estimate(float(differences.mean()), means[:, i] - means[:, j], tolerance)
        correlation = rank_biserial(direction * differences)
        uncorrected.append((methods[i], methods[j], difference, correlation, wilcoxon(differences)))
    corrected = holm([p for *_, p in uncorrected])
    return [MethodPair(*pair[:4], p) for pair, p in zip(uncorrected, corrected, strict=True)]


def agreement(first: MethodComparison, second: MethodComparison) -> Agreement | None:
    """Return Kendall's tau between the rankings of the methods that two metrics share.

    The result is None with fewer than three methods, or if a metric ranks all of them equally.
    """
    from scipy import stats

    ranks = [{standing.method: standing.rank for standing in each.standings} for each in (first, second)]
    methods = [method for method in ranks[0] if method in ranks[1]]
    if len(methods) < 3:
        return None
    result = stats.kendalltau(*([of_metric[method] for method in methods] for of_metric in ranks))
    if math.isnan(result.statistic):
        return None
    return Agreement(first.model, (first.metric, second.metric), float(result.statistic), float(result.pvalue))
