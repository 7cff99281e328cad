"""The rows of a run as arrays, read shard by shard and without columns that the summary does not need."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xai_core.benchmarking.bootstrap import Values
from xai_core.benchmarking.comparison import ScoreMatrix
from xai_core.benchmarking.rows import readable
from xai_core.benchmarking.store import ROWS, Run

if TYPE_CHECKING:
    import pyarrow as pa

_NAMES, _COSTS = ("method", "metric", "error"), ("forward_passes", "seconds", "memory")


@dataclass(frozen=True)
class ModelArrays:
    """The rows of one model.

    Attributes
    ----------
    scores
        A score matrix for each metric.
    forward_passes, seconds, memory
        [N,methods], the costs of the maps. NaN marks an unknown cost.
    """

    scores: list[ScoreMatrix]
    forward_passes: Values
    seconds: Values
    memory: Values


def read_arrays(run: Run) -> list[ModelArrays]:
    """Return the arrays of each of the run's models, in the order of the manifest."""
    arrays = [_empty(run, index) for index in range(len(run.manifest.models))]
    for shard in run.finished:
        file = run.path / ROWS / f"{shard.name}.parquet"
        with readable(file):
            _fill(arrays[shard.model_index], _read(file))
    return arrays


def _empty(run: Run, model_index: int) -> ModelArrays:
    manifest, model = run.manifest, run.manifest.models[model_index]

    def unknown() -> Values:
        return np.full((manifest.images, len(model.methods)), np.nan)

    scores = [
        ScoreMatrix(model.spec, metric, higher, model.methods, unknown(), {name: Counter() for name in model.methods})
        for metric, higher in manifest.metrics.items()
    ]
    return ModelArrays(scores, unknown(), unknown(), unknown())


def _read(file: Path) -> "pa.Table":
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, read_dictionary=_NAMES) as content:
        return content.read([*_NAMES, "index", "score", *_COSTS], use_threads=False)


def _fill(arrays: ModelArrays, rows: "pa.Table") -> None:
    """Copy the rows of a shard into the arrays of their model."""
    methods, metrics = arrays.scores[0].methods, [matrix.metric for matrix in arrays.scores]
    image, score = rows["index"].to_numpy(), rows["score"].to_numpy()
    method, metric = _positions(rows["method"], methods), _positions(rows["metric"], metrics)
    for number, matrix in enumerate(arrays.scores):
        own = metric == number
        matrix.values[image[own], method[own]] = score[own]
    scored = ~np.isnan(score)
    for name in _COSTS:
        getattr(arrays, name)[image[scored], method[scored]] = rows[name].to_numpy()[scored]
    failed = rows.filter(rows["error"].is_valid())
    columns = (failed[name].to_pylist() for name in ("metric", "method", "error"))
    for metric_name, method_name, error in zip(*columns, strict=True):
        arrays.scores[metrics.index(metric_name)].errors[method_name][error] += 1


def _positions(column: "pa.ChunkedArray", names: Sequence[str]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """Return the position of each text of a column among the names."""
    coded = column.combine_chunks()
    positions = np.array([names.index(name) for name in coded.dictionary.to_pylist()], np.int64)
    return positions[coded.indices.to_numpy()]
