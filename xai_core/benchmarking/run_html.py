"""HTML of a run for notebooks: its progress, and the mean scores of the finished images."""

from collections import Counter
from collections.abc import Collection, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from xai_core.benchmarking.comparison import ScoreMatrix
from xai_core.benchmarking.manifest import Manifest
from xai_core.benchmarking.shards import Shard
from xai_core.html import table

if TYPE_CHECKING:
    import pyarrow as pa


class DisplayedRun(Protocol):
    """The part of a `Run` that is displayed."""

    @property
    def path(self) -> Path: ...
    @property
    def manifest(self) -> Manifest: ...
    @property
    def finished(self) -> Sequence[Shard]: ...

    def rows_of(self, shard: Shard) -> "pa.Table":
        """Return the rows of a finished shard."""
        ...


def run_html(run: DisplayedRun) -> str:
    """Return the number of finished images, and a table of mean scores for each model.

    Each mean is computed from the images that all methods have a score for.
    """
    tables = {shard: run.rows_of(shard) for shard in run.finished}
    finished = sum(shard.stop - shard.start for shard in tables)
    images = run.manifest.images * len(run.manifest.models)
    folder = run.path.relative_to(Path.cwd()) if run.path.is_relative_to(Path.cwd()) else run.path
    lines = [f"{finished} of {images} images in {folder}"]
    lines += _errors(tables.values())
    means = (_means(run.manifest, index, tables) for index in sorted({shard.model_index for shard in tables}))
    return f"<div>{'<br>'.join(map(escape, lines))}{''.join(means)}</div>"


def _errors(tables: "Collection[pa.Table]") -> list[str]:
    """Return the number of rows with an error, and the most frequent error."""
    errors = Counter(error for rows in tables for error in rows["error"].to_pylist() if error is not None)
    if not errors:
        return []
    [(most_frequent, _)] = errors.most_common(1)
    return [f"{errors.total()} of {sum(map(len, tables))} rows contain an error. The most frequent is: {most_frequent}"]


def _means(manifest: Manifest, model_index: int, tables: "dict[Shard, pa.Table]") -> str:
    """Return the table of a model: methods in rows and metrics in columns."""
    model = manifest.models[model_index]
    scores = np.concatenate(
        [
            np.asarray(rows["score"].to_numpy(), np.float64).reshape(shard.shape(manifest))
            for shard, rows in tables.items()
            if shard.model_index == model_index
        ]
    )
    columns = [
        _column(ScoreMatrix(model.spec, metric, higher, model.methods, scores[:, :, i], {}))
        for i, (metric, higher) in enumerate(manifest.metrics.items())
    ]
    header = [f"{metric} ({'higher' if up else 'lower'} is better)" for metric, up in manifest.metrics.items()]
    rows = [(method, *(column.get(method, "-") for column in columns)) for method in model.methods]
    return f"<div><b>{escape(model.spec)}</b></div>{table(['method', *header], rows)}"


def _column(matrix: ScoreMatrix) -> dict[str, str]:
    """Return the mean score of each compared method."""
    methods, values = matrix.shared()
    return {method: f"{values[:, i].mean():.4f}" for i, method in enumerate(methods) if len(values)}
