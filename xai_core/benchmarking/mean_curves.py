"""Mean perturbation curves of methods, with bootstrap intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xai_core.benchmarking.bootstrap import Values, resampled_means
from xai_core.benchmarking.comparison import MethodComparison
from xai_core.benchmarking.rows import readable
from xai_core.benchmarking.shards import CURVES
from xai_core.benchmarking.statistics import LEVEL
from xai_core.benchmarking.store import Run


@dataclass(frozen=True, eq=False)
class MeanCurve:
    """The mean curve of a method over images.

    Attributes
    ----------
    method
        Spec of the method.
    fractions
        [S+1], the fraction of pixels replaced at each point.
    means
        [S+1], the mean value of the curve at each point.
    low, high
        [S+1], the ends of the 95 % percentile bootstrap interval at each point, or None for a single image.
    """

    method: str
    fractions: Values
    means: Values
    low: Values | None
    high: Values | None


def mean_curves(run: Run, comparison: MethodComparison) -> list[MeanCurve]:
    """Return the mean curves of the compared methods, best first, over the images with a curve from each of them.

    The list is empty if the metric has no curves, or if the curves of different images have different points.
    """
    methods = [standing.method for standing in comparison.standings]
    tables = [_curves(run, comparison, method) for method in methods]
    shared = sorted(set.intersection(*(set(table) for table in tables))) if tables else []
    points = {tuple(table[index][0]) for table in tables for index in shared}
    if len(points) != 1:
        return []
    fractions = np.array(points.pop())
    scores = [np.array([table[index][1] for index in shared], np.float64) for table in tables]
    return [
        MeanCurve(method, fractions, table.mean(0), *_interval(means))
        for method, table, means in zip(methods, scores, resampled_means(scores), strict=True)
    ]


def _curves(run: Run, comparison: MethodComparison, method: str) -> dict[int, tuple[Sequence[float], Sequence[float]]]:
    """Return the fractions and the scores of a method's curves, by the index of the image."""
    import pyarrow.parquet as pq

    curves = {}
    chosen = [("method", "==", method), ("metric", "==", comparison.metric)]
    for shard in run.finished:
        path = run.path / shard.file(CURVES)
        if run.manifest.models[shard.model_index].spec == comparison.model and path.exists():
            with readable(path):
                rows = pq.read_table(path, columns=["index", "fractions", "scores"], filters=chosen).to_pydict()
            for index, fractions, scores in zip(rows["index"], rows["fractions"], rows["scores"], strict=True):
                curves[index] = fractions, scores
    return curves


def _interval(means: Values) -> tuple[Values, Values] | tuple[None, None]:
    if not len(means):
        return None, None
    low, high = np.quantile(means, [LEVEL / 2, 1 - LEVEL / 2], axis=0)
    return low, high
