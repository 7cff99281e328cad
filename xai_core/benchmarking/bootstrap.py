"""The bootstrap of means: images drawn anew, the same ones for every method and metric."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Values = np.ndarray[Any, np.dtype[np.float64]]
RESAMPLES = 9999
_SEED = 0
_BLOCK = 2**20
"""How many draws are held at a time."""


def resampled_means(tables: Sequence[Values]) -> list[Values]:
    """The means [RESAMPLES,columns] of each table [N,columns] over N of its rows drawn with replacement.

    The draws depend on N alone, so that any difference of columns, also of tables that are as long, is of the same
    rows. Of fewer than two rows there are no resamples, and the result is [0,columns].
    """
    means: list[Values] = [np.empty((0, table.shape[1])) for table in tables]
    for length in {len(table) for table in tables if len(table) > 1}:
        alike = [place for place, table in enumerate(tables) if len(table) == length]
        drawn = _resampled(np.hstack([tables[place] for place in alike]))
        ends = np.cumsum([tables[place].shape[1] for place in alike])
        for place, columns in zip(alike, np.split(drawn, ends[:-1], axis=1), strict=True):
            means[place] = columns
    return means


def _resampled(table: Values) -> Values:
    rng, length = np.random.default_rng(_SEED), len(table)
    mean = table.mean(0)
    deviations, block = table - mean, max(1, _BLOCK // length)
    means = np.empty((RESAMPLES, table.shape[1]))
    for start in range(0, RESAMPLES, block):
        drawn = rng.integers(length, size=(min(block, RESAMPLES - start), length))
        counts = np.stack([np.bincount(rows, minlength=length) for rows in drawn]).astype(np.float64)
        means[start : start + block] = mean + counts @ deviations / length
    return means
