"""A run's rows as arrays: read part by part, and only what is summed up."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xai_core.benchmarking.bootstrap import Values
from xai_core.benchmarking.rows import reading
from xai_core.benchmarking.statistics import Scores
from xai_core.benchmarking.store import ROWS, Run

if TYPE_CHECKING:
    import pyarrow as pa

_NAMES, _COSTS = ("method", "metric", "error"), ("forward_passes", "seconds", "memory")


@dataclass(frozen=True)
class Tables:
    """What the rows of a model hold.

    Attributes
    ----------
    scores
        For each metric.
    forward_passes, seconds, memory
        [N,methods], what the maps cost; NaN where there is none, or it is not known.
    """

    scores: list[Scores]
    forward_passes: Values
    seconds: Values
    memory: Values


def read(run: Run) -> list[Tables]:
    """The tables of each of the run's models, in its order."""
    tables = [_empty(run, subject) for subject in range(len(run.manifest.subjects))]
    for shard in run.finished:
        file = run.path / ROWS / f"{shard.name}.parquet"
        with reading(file):
            _fill(tables[shard.subject], _part(file))
    return tables


def _empty(run: Run, number: int) -> Tables:
    manifest, subject = run.manifest, run.manifest.subjects[number]

    def nothing() -> Values:
        return np.full((manifest.images, len(subject.methods)), np.nan)

    scores = [
        Scores(subject.model, metric, higher, subject.methods, nothing(), {name: Counter() for name in subject.methods})
        for metric, higher in manifest.metrics.items()
    ]
    return Tables(scores, nothing(), nothing(), nothing())


def _part(file: Path) -> "pa.Table":
    import pyarrow.parquet as pq

    with pq.ParquetFile(file, read_dictionary=_NAMES) as part:
        return part.read([*_NAMES, "index", "score", *_COSTS], use_threads=False)


def _fill(tables: Tables, part: "pa.Table") -> None:
    methods, metrics = tables.scores[0].methods, [one.metric for one in tables.scores]
    images, method = part["index"].to_numpy(), _places(part["method"], methods)
    metric, done = _places(part["metric"], metrics), ~np.isnan(part["score"].to_numpy())
    for number, scores in enumerate(tables.scores):
        mine = metric == number
        scores.values[images[mine], method[mine]] = part["score"].to_numpy()[mine]
    for name in _COSTS:
        getattr(tables, name)[images[done], method[done]] = part[name].to_numpy()[done]
    failed = part.filter(part["error"].is_valid())
    for which, of, error in zip(*(failed[name].to_pylist() for name in ("metric", "method", "error")), strict=True):
        tables.scores[metrics.index(which)].errors[of][error] += 1


def _places(column: "pa.ChunkedArray", names: Sequence[str]) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
    """The place of each of a column's texts among the names."""
    coded = column.combine_chunks()
    places = np.array([names.index(name) for name in coded.dictionary.to_pylist()], np.int64)
    return places[coded.indices.to_numpy()]
