"""Comparisons of methods with known means."""

from collections import Counter
from collections.abc import Mapping

import numpy as np

from xai_core.benchmarking.comparison import MethodComparison, ScoreMatrix, compare

IMAGES = 40


def compared(means: Mapping[str, float], metric: str = "rise", *, higher_is_better: bool = True) -> MethodComparison:
    """The comparison of methods whose scores have these means and little noise."""
    noise = np.random.default_rng(0).normal(scale=0.1, size=(IMAGES, len(means)))
    errors = {method: Counter[str]() for method in means}
    values = np.array([*means.values()]) + noise
    [comparison] = compare([ScoreMatrix("model", metric, higher_is_better, [*means], values, errors)])
    return comparison
