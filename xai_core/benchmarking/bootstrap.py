"""Bootstrap resampling of means, with the same resamples for every method and metric."""

from collections.abc import Sequence
from typing import Any

import numpy as np

Values = np.ndarray[Any, np.dtype[np.float64]]
RESAMPLES = 9999
_SEED = 0
_BLOCK = 2**20
"""Maximum number of random indices in memory."""


def resampled_means(tables: Sequence[Values]) -> list[Values]:
    """Return the bootstrap means [RESAMPLES,columns] of each table [N,columns] over N rows drawn with replacement.

    The drawn rows depend on N alone. Differences between columns, also of different tables with N rows, are
    therefore paired. With fewer than two rows there are no resamples, and the result is [0,columns].
    """
    means: list[Values] = [np.empty((0, table.shape[1])) for table in tables]
    for length in {len(table) for table in tables if len(table) > 1}:
        same_length = [index for index, table in enumerate(tables) if len(table) == length]
        resampled = _resample(np.hstack([tables[index] for index in same_length]))
        ends = np.cumsum([tables[index].shape[1] for index in same_length])
        for index, columns in zip(same_length, np.split(resampled, ends[:-1], axis=1), strict=True):
            means[index] = columns
    return means


def _resample(table: Values) -> Values:
    rng, length = np.random.default_rng(_SEED), len(table)
    mean = table.mean(0)
    deviations, block = table - mean, max(1, _BLOCK // length)
    means = np.empty((RESAMPLES, table.shape[1]))
    for start in range(0, RESAMPLES, block):
        drawn = rng.integers(length, size=(min(block, RESAMPLES - start), length))
        counts = np.stack([np.bincount(rows, minlength=length) for rows in drawn]).astype(np.float64)
        means[start : start + block] = mean + counts @ deviations / length
    return means
