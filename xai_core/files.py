"""Files that are whole or absent, folders that are not overwritten, and names that do not clash."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from xai_core.errors import FileError


def write(path: Path, content: bytes | str) -> None:
    """Write a file so that whoever reads it sees all of it, or what was there before, also after the power failed.

    Raises
    ------
    FileError
        Where it cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
            _flush(unfinished)
            unfinished.replace(path)
            _flush(path.parent)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from error


def _flush(path: Path) -> None:
    """Wait until the content of a file, or a folder's list of files, is on the disk."""
    if os.name != "nt":  # which opens no folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def make_folder(path: Path) -> None:
    """Make a folder, and those above it.

    Raises
    ------
    FileError
        Where it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise FileError(f"{path} is a file; give a folder") from None
    except OSError as error:
        raise FileError(f"cannot make the folder {path}: {error.strerror}") from error


def require_unused(paths: Iterable[Path], option: str) -> None:
    """Refuse to write over files.

    Raises
    ------
    FileError
        Where one is there; it says to give another `option`, or `--overwrite`.
    """
    existing = [path for path in paths if path.exists()]
    if existing:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise FileError(f"{existing[0]}{more} would be overwritten; give another {option}, or --overwrite")


def unused(path: Path) -> Path:
    """The path, or the first of `path-2`, `path-3`, ... that does not exist."""
    free, number = path, 2
    while free.exists():
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free


def encodable(text: str) -> str:
    r"""Text as UTF-8 takes it: what stands for other bytes, as in names of files, is written as `\udce9`."""
    return text.encode(errors="backslashreplace").decode()


def distinct(names: Iterable[str]) -> list[str]:
    """A file name for each name, in order: letters, digits and `._=+-` only, no two alike on any file system.

    Each is at most 100 bytes, and a number where names are alike, so that an ending fits in what file systems take.
    """
    made: list[str] = []
    taken: set[str] = set()
    for name in names:
        slug = re.sub(r"[^\w.=+]+", "-", name).strip("-.").encode()[:100].decode(errors="ignore") or "unnamed"
        unique, number = slug, 2
        while unique.casefold() in taken:
            unique, number = f"{slug}-{number}", number + 1
        taken.add(unique.casefold())
        made.append(unique)
    return made
