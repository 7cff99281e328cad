"""The rows, curves and maps of a run, and the files that contain them."""

import functools
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from xai_core.benchmarking.manifest import Manifest
from xai_core.benchmarking.shards import Shard
from xai_core.errors import FileError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ScoreRow:
    """The score of one map by one metric, or the error that prevented it.

    Attributes
    ----------
    model, data, method, metric
        Specs of the model, the dataset, the method and the metric.
    index, image
        Index and id of the image in the dataset.
    label
        Class of the image in the dataset, if known.
    target
        Class that was explained, or the class of the detection or the region.
    score
        Value of the metric, or None after an error.
    error
        Error message in one line, or None if there is a score.
    constant
        Whether the map is constant.
    forward_passes
        Number of forward passes that the method needs per image.
    seconds
        Duration of the explanation, divided by the number of images in the batch.
    memory
        Peak memory of the batch in bytes, if the device reports it.
    """

    model: str
    data: str
    index: int
    image: str
    label: int | None
    method: str
    metric: str
    target: int | None = None
    score: float | None = None
    error: str | None = None
    constant: bool | None = None
    forward_passes: int | None = None
    seconds: float | None = None
    memory: int | None = None


@dataclass(frozen=True)
class CurveRow:
    """The perturbation curve of one map.

    Attributes
    ----------
    model, method, metric
        Specs of the model, the method and the metric.
    index, image
        Index and id of the image in the dataset.
    fractions
        [S+1], the fraction of pixels replaced at each point.
    scores
        [S+1], the model's score at each point.
    """

    model: str
    index: int
    image: str
    method: str
    metric: str
    fractions: Sequence[float]
    scores: Sequence[float]


@functools.cache
def _score_schema() -> "pa.Schema":
    import pyarrow as pa

    text, integer, number = pa.string(), pa.int64(), pa.float64()
    required = {"model": text, "data": text, "index": integer, "image": text, "method": text, "metric": text}
    types = required | {"label": integer, "target": integer, "score": number, "error": text, "constant": pa.bool_()}
    types |= {"forward_passes": integer, "seconds": number, "memory": integer}
    return pa.schema(
        [pa.field(column.name, types[column.name], column.name not in required) for column in fields(ScoreRow)]
    )


@functools.cache
def _curve_schema() -> "pa.Schema":
    import pyarrow as pa

    points = pa.list_(pa.float32())
    types = {"index": pa.int64(), "fractions": points, "scores": points}
    return pa.schema([(column.name, types.get(column.name, pa.string())) for column in fields(CurveRow)])


def encode_rows(rows: Iterable[ScoreRow], notes: Sequence[str] = ()) -> bytes:
    """Encode rows as a Parquet file, with the shard's notes in the metadata."""
    return _parquet(rows, _score_schema().with_metadata({"notes": "\n".join(notes)}))


def encode_curves(curves: Iterable[CurveRow]) -> bytes:
    """Encode curves as a Parquet file."""
    return _parquet(curves, _curve_schema())


def encode_maps(maps: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """Encode named maps as NumPy's `.npz` file."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **maps)  # type: ignore[arg-type] # older NumPy takes `allow_pickle` for an array too
    return buffer.getvalue()


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """Convert an error while a shard's file is read into an error that names the file and the remedy.

    Raises
    ------
    FileError
        If the file cannot be read.
    """
    import pyarrow as pa

    try:
        yield
    except (OSError, LookupError, TypeError, ValueError, BadZipFile, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise FileError(
            f"{file} is damaged, or another version of xai-core wrote it ({reason}); repeat the benchmark command to"
            " recompute its images"
        ) from error


def decode_rows(content: bytes, shard: Shard, manifest: Manifest) -> "pa.Table":
    """Return the rows of a shard from the content of its Parquet file, with the notes in the metadata.

    Raises
    ------
    ValueError, LookupError, pa.ArrowException
        If the file is damaged, or does not contain exactly the rows of the shard in their order.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    count = math.prod(shard.shape(manifest))
    with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
        if file.metadata.num_rows != count:
            raise ValueError(f"it contains {file.metadata.num_rows} rows; expected {count}")
        notes = (file.schema_arrow.metadata or {})[b"notes"]
        rows = file.read(use_threads=False).cast(_score_schema().with_metadata({"notes": notes}))
    for name, expected in shard.keys(manifest).items():
        if not rows[name].equals(pa.chunked_array([expected])):
            raise ValueError(f"its column {name!r} does not match the manifest")
    return rows


def no_rows() -> "pa.Table":
    """Return a table without rows."""
    return _score_schema().empty_table()


def notes_of(rows: "pa.Table") -> list[str]:
    """Return the notes of a shard's rows."""
    notes: bytes = rows.schema.metadata[b"notes"]
    return notes.decode().splitlines()


def _parquet(records: Iterable[Any], schema: "pa.Schema") -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    table = pa.Table.from_pylist([asdict(record) for record in records], schema)
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()
