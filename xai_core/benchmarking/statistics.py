"""Statistics of paired scores: intervals, rank correlation, and tests with their correction. SciPy computes them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xai_core.benchmarking.bootstrap import Values

LEVEL = 0.05
"""Significance level. The confidence level of intervals is 1 - LEVEL."""


@dataclass(frozen=True)
class Estimate:
    """A mean over images with its 95 % percentile bootstrap interval. A single image has no interval."""

    mean: float
    low: float | None
    high: float | None


def estimate(mean: float, resampled: Values, tolerance: float = 0) -> Estimate:
    """Return a mean and its percentile interval from resampled means [R] (Efron and Tibshirani, 1993, chapter 13).

    Values of at most `tolerance` in absolute value become zero.
    """
    ends = np.quantile(resampled, [LEVEL / 2, 1 - LEVEL / 2]).tolist() if len(resampled) else [None, None]
    return Estimate(*(value if value is None or abs(value) > tolerance else 0.0 for value in (mean, *ends)))


def merge_ties(table: Values, tolerance: float) -> Values:
    """Return scores [N,methods] in which ties of an image are equal.

    Neighbors in the order of an image's scores are tied if they differ by at most `tolerance`.
    """
    order = np.argsort(table, axis=1, kind="stable")
    ascending = np.take_along_axis(table, order, 1)
    distinct = np.diff(ascending, axis=1, prepend=-np.inf) > tolerance
    first = np.maximum.accumulate(np.where(distinct, np.arange(table.shape[1]), 0), axis=1)
    merged = np.empty_like(table)
    np.put_along_axis(merged, order, np.take_along_axis(ascending, first, 1), 1)
    return merged


def rank_biserial(differences: Values) -> float:
    """Return (P - N) / (P + N), with P and N the rank sums of the positive and the negative differences.

    Zeros are dropped first. The result is 0 if every difference is zero.
    """
    from scipy import stats

    differences = differences[differences != 0]
    ranks = stats.rankdata(np.abs(differences))
    return float(np.sign(differences) @ ranks / ranks.sum()) if len(ranks) else 0.0


def wilcoxon(differences: Values) -> float:
    """Return the two-sided p-value of the Wilcoxon signed-rank test.

    Zeros are dropped first, as in Wilcoxon's paper. The result is 1 if every difference is zero.
    """
    from scipy import stats

    differences = differences[differences != 0]
    return float(stats.wilcoxon(differences).pvalue) if len(differences) else 1.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct m p-values (Holm, 1979): the k-th smallest times m - k + 1, at most 1 and never decreasing."""
    order = np.argsort(p_values, kind="stable")
    corrected, least = np.empty(len(p_values)), 0.0
    for k, i in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - k) * p_values[i]))
        corrected[i] = least
    return [float(p) for p in corrected]


def friedman(table: Values) -> float:
    """Return the p-value of Friedman's test that the columns of scores [N,methods] are equal.

    The result is 1 if all scores of each image are equal.
    """
    from scipy import stats

    if not np.ptp(table, axis=1).any():
        return 1.0
    return float(stats.friedmanchisquare(*table.T).pvalue)


def critical_difference(methods: int, images: int) -> float:
    """Return the smallest significant difference of mean ranks by Nemenyi's test (Demsar, JMLR 2006, section 3.2.2)."""
    from scipy import stats

    q = stats.studentized_range.ppf(1 - LEVEL, methods, math.inf) / math.sqrt(2)
    return float(q * math.sqrt(methods * (methods + 1) / (6 * images)))
