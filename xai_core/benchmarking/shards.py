"""Shards of a run: the images and rows that they contain, and their files."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xai_core.benchmarking.manifest import Manifest

if TYPE_CHECKING:
    import pyarrow as pa

ROWS, CURVES, MAPS, CHECKSUMS = "rows", "curves", "maps", "checksums"
SUFFIXES = {ROWS: ".parquet", CURVES: ".parquet", MAPS: ".npz", CHECKSUMS: ".sha256"}
"""The folders of a run, with the suffix of their files."""


@dataclass(frozen=True, order=True)
class Shard:
    """The images `start` to `stop` (exclusive) of the dataset for one model, whose results are saved together."""

    model_index: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Name of the shard's files without a suffix. The names sort alphabetically in the order of the shards."""
        return f"{self.model_index:03d}-{self.start:09d}"

    def file(self, folder: str) -> str:
        """Return the path of the shard's file in a folder of the run, such as `rows/000-000000000.parquet`."""
        return f"{folder}/{self.name}{SUFFIXES[folder]}"

    def shape(self, manifest: Manifest) -> tuple[int, int, int]:
        """Return the numbers of images, methods and metrics. Each combination has a row, in this order."""
        return self.stop - self.start, len(manifest.models[self.model_index].methods), len(manifest.metrics)

    def keys(self, manifest: Manifest) -> "dict[str, pa.Array]":
        """Return the columns that identify the shard's rows: model, data, index, method and metric."""
        import pyarrow as pa

        model, (images, methods, metrics) = manifest.models[self.model_index], self.shape(manifest)
        position = np.arange(images * methods * metrics)

        def column(names: list[str], indices: "np.ndarray[tuple[int], np.dtype[np.int64]]") -> "pa.Array":
            return pa.array(names, pa.string()).take(pa.array(indices))

        return {
            "model": column([model.spec], 0 * position),
            "data": column([manifest.data], 0 * position),
            "index": pa.array(self.start + position // (methods * metrics)),
            "method": column([*model.methods], position // metrics % methods),
            "metric": column([*manifest.metrics], position % metrics),
        }


@dataclass(frozen=True)
class ShardFiles:
    """The contents of a shard's files.

    Attributes
    ----------
    shard
        The shard.
    rows
        Parquet file of the rows.
    curves
        Parquet file of the curves, or None if no metric has curves.
    maps
        `.npz` file of the maps, or None if maps are not saved.
    notes
        Messages about the computation, such as a smaller batch size.
    """

    shard: Shard
    rows: bytes
    curves: bytes | None = None
    maps: bytes | None = None
    notes: tuple[str, ...] = ()
