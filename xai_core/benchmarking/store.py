"""The folder of a run: one manifest, one process at a time, and files that are complete or absent."""

import errno
import math
import re
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from xai_core import files
from xai_core.benchmarking.checksums import checksum, decode_checksums, encode_checksums, file_checksum
from xai_core.benchmarking.manifest import Manifest
from xai_core.benchmarking.rows import ScoreRow, decode_rows, no_rows, notes_of, readable
from xai_core.benchmarking.shards import CHECKSUMS, CURVES, MAPS, ROWS, SUFFIXES, Shard, ShardFiles
from xai_core.errors import FileError

if TYPE_CHECKING:
    import pyarrow as pa

MANIFEST, LOCK = "manifest.json", ".lock"
_MISMATCH = "its content does not match its checksum"
_NAME = re.compile(r"(\d{3,})-(\d{9,})")
_UNFINISHED = re.compile(r"\.(manifest\.json|\d+-\d+\.(parquet|npz|sha256))\.\d+")
"""Names of the temporary files that `files.write` leaves behind if its process is killed."""


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
            if not files.is_openable(path / MANIFEST):
                raise OSError(errno.EINVAL, "not a regular file")
            return cls(path, Manifest.of_json((path / MANIFEST).read_text(encoding="utf-8")))
        except OSError as error:
            raise FileError(
                f"{path} contains no run ({error.strerror}: {MANIFEST}); expected a folder that `xai benchmark --out`"
                " wrote"
            ) from error
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise FileError(
                f"{path / MANIFEST} is not a manifest of this xai-core version ({error}); use the version that wrote it"
            ) from error

    def __repr__(self) -> str:
        path, manifest = str(self.path), self.manifest
        path = path if len(path) <= 80 else f"...{path[-77:]}"
        count = len(manifest.models) * -(-manifest.images // manifest.shard)
        return f"<Run {path}: {len(self.finished)} of {count} shards finished, manifest {manifest.hash[:12]}>"

    def _repr_html_(self) -> str:
        from xai_core.benchmarking.run_html import run_html

        return run_html(self)

    def __len__(self) -> int:
        return sum(map(self._row_count, self.finished))

    def __getitem__(self, index: int) -> ScoreRow:
        finished = self.finished
        ends = [*accumulate(map(self._row_count, finished), initial=0)]
        position = range(ends[-1])[index]
        number = bisect_right(ends, position) - 1
        [row] = self.rows_of(finished[number]).slice(position - ends[number], 1).to_pylist()
        return ScoreRow(**row)

    def __iter__(self) -> Iterator[ScoreRow]:
        for shard in self.finished:
            for row in self.rows_of(shard).to_pylist():
                yield ScoreRow(**row)

    @property
    def shards(self) -> list[Shard]:
        """All shards of the run, in order."""
        return [
            self._shard(model_index, start)
            for model_index in range(len(self.manifest.models))
            for start in range(0, self.manifest.images, self.manifest.shard)
        ]

    @property
    def finished(self) -> list[Shard]:
        """The shards whose rows and checksums exist, in order."""
        names = self._names(ROWS) & self._names(CHECKSUMS)
        return sorted(shard for shard in map(self._named, names) if shard is not None)

    @property
    def missing(self) -> list[Shard]:
        """The shards that remain to be computed."""
        kept = {*self.finished} - self.to_recompute
        return [shard for shard in self.shards if shard not in kept]

    def rows(self) -> "pa.Table":
        """Return all rows of the finished shards, ordered by model, image, method and metric."""
        import pyarrow as pa

        return pa.concat_tables([no_rows(), *map(self.rows_of, self.finished)])

    def rows_of(self, shard: Shard) -> "pa.Table":
        """Return the rows of a finished shard.

        Raises
        ------
        FileError
            If the file is damaged, or belongs to another shard or run.
        """
        with readable(self.path / shard.file(ROWS)):
            return decode_rows(self._row_file(shard), shard, self.manifest)

    def notes(self) -> list[str]:
        """Return the notes of the finished shards, each once."""
        return [*dict.fromkeys(note for shard in self.finished for note in notes_of(self.rows_of(shard)))]

    def write(self, content: ShardFiles) -> None:
        """Write a shard's files. The checksums come last, because they mark the shard as finished."""
        shard, checksums = content.shard, {MANIFEST: self.manifest.hash}
        for folder, data in ((CURVES, content.curves), (MAPS, content.maps), (ROWS, content.rows)):
            if data is None:
                (self.path / shard.file(folder)).unlink(missing_ok=True)
            else:
                self._write(folder, shard, data)
                checksums[shard.file(folder)] = checksum(data)
        self._write(CHECKSUMS, shard, encode_checksums(checksums))
        self.to_recompute.discard(shard)

    def recompute_errors(self) -> None:
        """Mark the shards that contain errors. Their old results remain until new results are written."""
        for shard in self.finished:
            rows = self.rows_of(shard)
            if rows["error"].null_count < len(rows):
                self.to_recompute.add(shard)

    def remove_damaged(self) -> None:
        """Remove the checksums of damaged shards, so that these are computed again. Every file is read."""
        for shard in self.finished:
            try:
                self._verify(shard)
            except FileError:
                (self.path / shard.file(CHECKSUMS)).unlink(missing_ok=True)

    def _verify(self, shard: Shard) -> None:
        self.rows_of(shard)
        for folder in (CURVES, MAPS):
            path = shard.file(folder)
            with readable(self.path / path):
                expected = self._checksums(shard).get(path)
                if expected and file_checksum(self.path / path) != expected:
                    raise ValueError(_MISMATCH)

    def _row_file(self, shard: Shard) -> bytes:
        """Return the content of a shard's file of rows.

        Raises
        ------
        OSError, ValueError
            If the file cannot be read, is damaged, or belongs to another shard or run.
        """
        checksums, content = self._checksums(shard), (self.path / shard.file(ROWS)).read_bytes()
        if checksums.get(MANIFEST) != self.manifest.hash:
            raise ValueError("it belongs to another run")
        if checksums.get(shard.file(ROWS)) != checksum(content):
            raise ValueError(_MISMATCH)
        return content

    def _checksums(self, shard: Shard) -> dict[str, str]:
        return decode_checksums((self.path / shard.file(CHECKSUMS)).read_text(encoding="utf-8"))

    def _names(self, folder: str) -> set[str]:
        """Return the names of the files in a folder, without the suffix."""
        return {file.stem for file in (self.path / folder).glob(f"*{SUFFIXES[folder]}") if file.is_file()}

    def _named(self, name: str) -> Shard | None:
        """Return the shard with this name, or None if the run has no shard with this name."""
        if not _NAME.fullmatch(name):
            return None
        shard = self._shard(*map(int, name.split("-")))
        starts = range(0, self.manifest.images, self.manifest.shard)
        known = shard.model_index < len(self.manifest.models) and shard.start in starts
        return shard if known and shard.name == name else None

    def _shard(self, model_index: int, start: int) -> Shard:
        return Shard(model_index, start, min(start + self.manifest.shard, self.manifest.images))

    def _row_count(self, shard: Shard) -> int:
        return math.prod(shard.shape(self.manifest))

    def _write(self, folder: str, shard: Shard, content: bytes | str) -> None:
        files.make_folder(self.path / folder)
        files.write_file(self.path / shard.file(folder), content)


@contextmanager
def open_run(path: Path, manifest: Manifest) -> Iterator[Run]:
    """Create or resume the run in a folder, and lock the folder against other processes.

    Raises
    ------
    FileError
        If another process uses the folder, or if the folder contains other files or a run with another manifest.
    """
    try:
        names = [file.name for file in path.iterdir()] if files.is_folder(path) else []
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
    for folder in (path, *(path / name for name in SUFFIXES)):
        for file in folder.glob(".*"):
            if _UNFINISHED.fullmatch(file.name):
                file.unlink()
