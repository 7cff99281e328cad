"""A run's folder: one manifest, one process at a time, and parts that are whole or absent."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from xai_core import files
from xai_core.benchmarking.manifest import Manifest
from xai_core.benchmarking.rows import read_notes, read_rows
from xai_core.errors import FileError

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST, ROWS, CURVES, MAPS, LOCK = "manifest.json", "rows", "curves", "maps", ".lock"
_UNFINISHED = re.compile(r"\.(manifest\.json|\d+-\d+\.(parquet|npz))\.\d+")
"""What a killed process leaves half-written, by the names that `files.write` gives."""


@dataclass(frozen=True, order=True)
class Shard:
    """The images `start` to `stop` of the data, by the model of a number: what is written together."""

    subject: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Its file, without a suffix; names sort as shards do."""
        return f"{self.subject:03d}-{self.start:09d}"


@dataclass(frozen=True)
class Part:
    """The content of a shard's files: rows, curves where a metric has some, and maps where they are wanted."""

    shard: Shard
    rows: bytes
    curves: bytes | None = None
    maps: bytes | None = None
    failed: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """What a folder holds of a benchmark.

    Attributes
    ----------
    again
        Shards that are finished, and are to be done again.
    """

    path: Path
    manifest: Manifest
    again: set[Shard] = field(default_factory=set, compare=False)

    @classmethod
    def read(cls, path: str | Path) -> "Run":
        """Read the folder of a run, finished or not.

        Raises
        ------
        FileError
            Where it is none.
        """
        path = Path(path).absolute()
        try:
            return cls(path, Manifest.of_json((path / MANIFEST).read_text(encoding="utf-8")))
        except OSError as error:
            raise FileError(f"{path} holds no run ({error.strerror}: {MANIFEST}); expected what --out was") from error
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise FileError(f"{path / MANIFEST} is not a manifest of this version ({error})") from error

    @property
    def shards(self) -> list[Shard]:
        """All shards of the run, in order."""
        manifest = self.manifest
        return [
            Shard(subject, start, min(start + manifest.shard, manifest.images))
            for subject in range(len(manifest.subjects))
            for start in range(0, manifest.images, manifest.shard)
        ]

    @property
    def finished(self) -> list[Shard]:
        """Those whose rows are there."""
        return [shard for shard in self.shards if self._file(ROWS, shard).exists()]

    @property
    def missing(self) -> list[Shard]:
        """Those that are still to do."""
        return [shard for shard in self.shards if shard in self.again or not self._file(ROWS, shard).exists()]

    def rows(self) -> "pa.Table":
        """All rows that there are, in the order of models, images, methods and metrics."""
        return read_rows(self._file(ROWS, shard) for shard in self.finished)

    def notes(self) -> list[str]:
        """What was said on the way, each once."""
        return [*dict.fromkeys(note for shard in self.finished for note in read_notes(self._file(ROWS, shard)))]

    def write(self, part: Part) -> None:
        """Write a shard's files; its rows last, which say that it is finished."""
        for folder, content in ((CURVES, part.curves), (MAPS, part.maps), (ROWS, part.rows)):
            if content is None:
                self._file(folder, part.shard).unlink(missing_ok=True)
            else:
                files.make_folder(self.path / folder)
                files.write(self._file(folder, part.shard), content)
        self.again.discard(part.shard)

    def retry_errors(self) -> None:
        """Have each shard that holds an error done again; what it has is there until then."""
        for shard in self.finished:
            rows = read_rows([self._file(ROWS, shard)])
            if rows["error"].null_count < len(rows):
                self.again.add(shard)

    def remove_damaged(self) -> None:
        """Remove rows that cannot be read, so that their shards are missing."""
        for shard in self.finished:
            try:
                read_rows([self._file(ROWS, shard)])
            except FileError:
                self._file(ROWS, shard).unlink()

    def _file(self, folder: str, shard: Shard) -> Path:
        return self.path / folder / f"{shard.name}{'.npz' if folder == MAPS else '.parquet'}"


@contextmanager
def opened(path: Path, manifest: Manifest) -> Iterator[Run]:
    """Hold the folder of a run, a new one or one of the same manifest, against other processes.

    Raises
    ------
    FileError
        Where another process holds it, where it is of another manifest, or holds other files.
    """
    try:
        held = [file.name for file in path.iterdir()] if path.is_dir() else []
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}; give another --out") from error
    others = sorted(name for name in held if name != LOCK and not _UNFINISHED.fullmatch(name))
    if others and MANIFEST not in others:
        raise FileError(f"{path} holds other files ({others[0]}); give another --out, or an empty folder")
    files.make_folder(path)
    with _locked(path):
        run = Run(path, manifest)
        if (path / MANIFEST).exists():
            _require_same(Run.read(path).manifest, manifest, path)
            run.remove_damaged()
        else:
            files.write(path / MANIFEST, manifest.json())
        _clear_unfinished(path)
        yield run


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    lock = FileLock(path / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise FileError(f"another process is at work on {path}; wait for it, or give another --out") from None
    except OSError as error:
        raise FileError(f"cannot write to {path}: {error.strerror}; give another --out") from error
    try:
        yield
    finally:
        lock.release()


def _require_same(there: Manifest, given: Manifest, path: Path) -> None:
    differences: Sequence[str] = there.differences(given)
    if differences:
        shown = "; ".join(differences[:8]) + ("; ..." if len(differences) > 8 else "")
        raise FileError(f"{path} is a run of another manifest: {shown}; give another --out, or the same settings")


def _clear_unfinished(path: Path) -> None:
    """Remove what a killed process left half-written."""
    for folder in (path, *(path / name for name in (ROWS, CURVES, MAPS))):
        for file in folder.glob(".*"):
            if _UNFINISHED.fullmatch(file.name):
                file.unlink()
