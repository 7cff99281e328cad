"""The folder of a run: one manifest, one process at a time, and files that are complete or absent."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from xai_core import files
from xai_core.benchmarking.manifest import Manifest
from xai_core.benchmarking.rows import ScoreRow, count_rows, read_notes, read_rows
from xai_core.errors import FileError

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST, ROWS, CURVES, MAPS, LOCK = "manifest.json", "rows", "curves", "maps", ".lock"
_UNFINISHED = re.compile(r"\.(manifest\.json|\d+-\d+\.(parquet|npz))\.\d+")
"""Names of the temporary files that `files.write` leaves behind if its process is killed."""


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


@dataclass(frozen=True, repr=False)
class Run:
    """A benchmark run in a folder. `len(run)` is the number of rows, and `run[i]` is one row as a `ScoreRow`.

    A pickled run contains the manifest and the absolute path of the folder, not the rows.

    Attributes
    ----------
    path
        The folder.
    manifest
        The manifest.
    to_recompute
        Finished shards that are to be computed again.
    """

    path: Path
    manifest: Manifest
    to_recompute: set[Shard] = field(default_factory=set, compare=False)

    @classmethod
    def read(cls, path: str | Path) -> "Run":
        """Open the folder of a run, finished or not.

        Raises
        ------
        FileError
            If the folder contains no run.
        """
        path = Path(path).absolute()
        try:
            return cls(path, Manifest.of_json((path / MANIFEST).read_text(encoding="utf-8")))
        except OSError as error:
            raise FileError(
                f"{path} contains no run ({error.strerror}: {MANIFEST}); expected a folder that was the --out of"
                " `xai benchmark`"
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FileError(
                f"{path / MANIFEST} is not a manifest of this xai-core version ({error}); use the version that wrote it"
            ) from error

    def __repr__(self) -> str:
        path = str(self.path)
        path = path if len(path) <= 80 else f"...{path[-77:]}"
        shards = f"{len(self.finished)} of {len(self.shards)} shards finished"
        return f"<Run {path}: {shards}, manifest {self.manifest.hash[:12]}>"

    def __len__(self) -> int:
        return sum(count_rows(self._file(ROWS, shard)) for shard in self.finished)

    def __getitem__(self, index: int) -> ScoreRow:
        paths = [self._file(ROWS, shard) for shard in self.finished]
        counts = [count_rows(path) for path in paths]
        position = range(sum(counts))[index]
        for path, count, end in zip(paths, counts, accumulate(counts), strict=True):
            if position < end:
                [row] = read_rows([path]).slice(position - (end - count), 1).to_pylist()
                break
        return ScoreRow(**row)

    def __iter__(self) -> Iterator[ScoreRow]:
        for shard in self.finished:
            for row in read_rows([self._file(ROWS, shard)]).to_pylist():
                yield ScoreRow(**row)

    @property
    def shards(self) -> list[Shard]:
        """All shards of the run, in order."""
        manifest = self.manifest
        return [
            Shard(model_index, start, min(start + manifest.shard, manifest.images))
            for model_index in range(len(manifest.models))
            for start in range(0, manifest.images, manifest.shard)
        ]

    @property
    def finished(self) -> list[Shard]:
        """The shards whose rows exist."""
        return [shard for shard in self.shards if self._file(ROWS, shard).exists()]

    @property
    def missing(self) -> list[Shard]:
        """The shards that remain to be computed."""
        return [shard for shard in self.shards if shard in self.to_recompute or not self._file(ROWS, shard).exists()]

    def rows(self) -> "pa.Table":
        """Return all rows of the finished shards, ordered by model, image, method and metric."""
        return read_rows(self._file(ROWS, shard) for shard in self.finished)

    def notes(self) -> list[str]:
        """Return the notes of the finished shards, each once."""
        return [*dict.fromkeys(note for shard in self.finished for note in read_notes(self._file(ROWS, shard)))]

    def write(self, content: ShardFiles) -> None:
        """Write a shard's files. The rows come last, because they mark the shard as finished."""
        for folder, data in ((CURVES, content.curves), (MAPS, content.maps), (ROWS, content.rows)):
            if data is None:
                self._file(folder, content.shard).unlink(missing_ok=True)
            else:
                files.make_folder(self.path / folder)
                files.write_file(self._file(folder, content.shard), data)
        self.to_recompute.discard(content.shard)

    def recompute_errors(self) -> None:
        """Mark the shards that contain errors. Their old results remain until new results are written."""
        for shard in self.finished:
            rows = read_rows([self._file(ROWS, shard)])
            if rows["error"].null_count < len(rows):
                self.to_recompute.add(shard)

    def remove_damaged(self) -> None:
        """Remove row files that cannot be read, so that their shards are computed again."""
        for shard in self.finished:
            try:
                read_rows([self._file(ROWS, shard)])
            except FileError:
                self._file(ROWS, shard).unlink()

    def _file(self, folder: str, shard: Shard) -> Path:
        return self.path / folder / f"{shard.name}{'.npz' if folder == MAPS else '.parquet'}"


@contextmanager
def open_run(path: Path, manifest: Manifest) -> Iterator[Run]:
    """Create or resume the run in a folder, and lock the folder against other processes.

    Raises
    ------
    FileError
        If another process uses the folder, or if the folder contains other files or a run with another manifest.
    """
    try:
        names = [file.name for file in path.iterdir()] if path.is_dir() else []
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}; pass another --out") from error
    others = sorted(name for name in names if name != LOCK and not _UNFINISHED.fullmatch(name))
    if others and MANIFEST not in others:
        raise FileError(f"{path} contains other files ({others[0]}); pass another --out, or an empty folder")
    files.make_folder(path)
    with _locked(path):
        run = Run(path, manifest)
        if (path / MANIFEST).exists():
            _require_equal(Run.read(path).manifest, manifest, path)
            run.remove_damaged()
        else:
            files.write_file(path / MANIFEST, manifest.json())
        _remove_unfinished(path)
        yield run


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = FileLock(path / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise FileError(f"another process is using {path}; wait for it, or pass another --out") from None
    except OSError as error:
        raise FileError(f"cannot write to {path}: {error.strerror}; pass another --out") from error
    try:
        yield
    finally:
        lock.release()


def _require_equal(existing: Manifest, requested: Manifest, path: Path) -> None:
    differences = existing.differences(requested)
    if differences:
        shown = "; ".join(differences[:8]) + ("; ..." if len(differences) > 8 else "")
        raise FileError(
            f"{path} contains a run with another manifest ({shown}); pass another --out, or the settings of that run"
        )


def _remove_unfinished(path: Path) -> None:
    """Remove the temporary files of a killed process."""
    for folder in (path, *(path / name for name in (ROWS, CURVES, MAPS))):
        for file in folder.glob(".*"):
            if _UNFINISHED.fullmatch(file.name):
                file.unlink()
