"""Rows, curves and maps, and the files of a part that hold them."""

import functools
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xai_core.errors import FileError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Row:
    """One number: of an image, a method and a metric. Where there is none, there is an error.

    Attributes
    ----------
    model, data, method, metric
        Their specs.
    index, image
        The image's place in the data set, and its id there.
    label
        Its class, where known.
    target
        The class that was explained.
    score
        The metric's value.
    error
        What went wrong, in one line.
    constant
        Whether the map is constant, so that the method found nothing.
    forward_passes, seconds, memory
        What the map cost: forwards of the model, seconds (its share of the batch's), and the batch's peak of bytes on
        the device, where known.
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
class Curve:
    """The scores that a metric walked through, and the share of pixels replaced at each."""

    model: str
    index: int
    image: str
    method: str
    metric: str
    fractions: Sequence[float]
    scores: Sequence[float]


@functools.cache
def _rows_schema() -> "pa.Schema":
    import pyarrow as pa

    text, whole, number = pa.string(), pa.int64(), pa.float64()
    known = {"model": text, "data": text, "index": whole, "image": text, "method": text, "metric": text}
    types = known | {"label": whole, "target": whole, "score": number, "error": text, "constant": pa.bool_()}
    types |= {"forward_passes": whole, "seconds": number, "memory": whole}
    return pa.schema([pa.field(field.name, types[field.name], field.name not in known) for field in fields(Row)])


@functools.cache
def _curves_schema() -> "pa.Schema":
    import pyarrow as pa

    points = pa.list_(pa.float32())
    types = {"index": pa.int64(), "fractions": points, "scores": points}
    return pa.schema([(field.name, types.get(field.name, pa.string())) for field in fields(Curve)])


def encode_rows(rows: Iterable[Row], notes: Sequence[str] = ()) -> bytes:
    """Rows as a Parquet file, with what is to be said of them in its metadata."""
    return _parquet(rows, _rows_schema().with_metadata({"notes": "\n".join(notes)}))


def encode_curves(curves: Iterable[Curve]) -> bytes:
    """Curves as a Parquet file."""
    return _parquet(curves, _curves_schema())


def encode_maps(maps: Mapping[str, np.ndarray[Any, Any]]) -> bytes:
    """Named maps as NumPy's `.npz`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **maps)  # type: ignore[arg-type] # older NumPy takes `allow_pickle` for an array too
    return buffer.getvalue()


@contextmanager
def reading(file: Path) -> Iterator[None]:
    """Say of a file of rows that cannot be read inside what it is, and what to do.

    Raises
    ------
    FileError
        Where that is so.
    """
    import pyarrow as pa

    try:
        yield
    except (OSError, LookupError, TypeError, ValueError, pa.ArrowException) as error:
        reason = str(error).partition("\n")[0]
        raise FileError(
            f"{file} is damaged, or of another version ({reason}); the same benchmark command does its images again"
        ) from error


def read_rows(files: Iterable[Path]) -> "pa.Table":
    """The rows of several files, in that order."""
    import pyarrow as pa

    return pa.concat_tables([_rows_schema().empty_table(), *map(_rows_of, files)])


def _rows_of(file: Path) -> "pa.Table":
    import pyarrow.parquet as pq

    with reading(file):
        return pq.read_table(file).cast(_rows_schema())


def read_notes(file: Path) -> list[str]:
    """What is said of the rows of a file."""
    import pyarrow.parquet as pq

    with reading(file):
        return pq.read_schema(file).metadata[b"notes"].decode().splitlines()


def _parquet(records: Iterable[Any], schema: "pa.Schema") -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([asdict(record) for record in records], schema), buffer, compression="zstd")
    return buffer.getvalue()
