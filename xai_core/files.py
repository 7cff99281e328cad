"""Atomic writing of files, files that can be opened, folders that are not overwritten, and unique file names."""

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from xai_core.errors import FileError


def write_file(path: Path, content: bytes | str) -> None:
    """Write a file atomically: readers see the complete file or the previous one, also after a power failure.

    Raises
    ------
    FileError
        If the file cannot be written.
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
    """Wait until the content of a file, or the list of files in a folder, is on the disk."""
    if os.name != "nt":  # Windows cannot open folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def is_openable(path: Path) -> bool:
    """Return whether a path is a regular file, a folder, or missing. Opening anything else can block forever."""
    return is_file(path) or is_folder(path) or not _mode(path)


def is_file(path: Path) -> bool:
    """Return whether a path is a regular file. No path raises an error, even if it is too long for the system."""
    return stat.S_ISREG(_mode(path))


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder. No path raises an error, even if it is too long for the system."""
    return stat.S_ISDIR(_mode(path))


def _mode(path: Path) -> int:
    """Return the type and the permissions of a file, or zero if it does not exist or cannot be accessed."""
    try:
        return path.stat().st_mode
    except (OSError, ValueError):
        return 0


def reason(error: OSError | ValueError) -> str:
    """Return why the system rejects a path. The error is a `ValueError` for a path with a null character."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def make_folder(path: Path) -> None:
    """Create a folder and its parents.

    Raises
    ------
    FileError
        If the folder cannot be created.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise FileError(f"{path} is a file; expected a folder") from None
    except (OSError, ValueError) as error:
        raise FileError(f"cannot create the folder {path}: {reason(error)}") from error


def require_unused(paths: Iterable[Path], option: str) -> None:
    """Require that files do not exist.

    Raises
    ------
    FileError
        If a file exists. The message suggests another value of `option`, or `--overwrite`.
    """
    existing = [path for path in paths if _mode(path)]
    if existing:
        more = f" and {len(existing) - 1} more" if len(existing) > 1 else ""
        raise FileError(f"{existing[0]}{more} would be overwritten; choose another {option}, or add --overwrite")


def unused(path: Path) -> Path:
    """Return the first of `path`, `path-2`, `path-3`, ... that does not exist."""
    free, number = path, 2
    while _mode(free):
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free


def encodable(text: str) -> str:
    r"""Return text that UTF-8 can encode: surrogates, as in file names with other bytes, become `\udce9`."""
    return text.encode(errors="backslashreplace").decode()


def distinct(names: Iterable[str]) -> list[str]:
    """Return a unique file name for each name, with letters, digits and `._=+-` only.

    Names that differ only in case are made different too. Each has at most 100 bytes, plus a number if names are equal,
    so that an extension can be added on every file system.
    """
    unique_names: list[str] = []
    taken: set[str] = set()
    for name in names:
        slug = re.sub(r"[^\w.=+]+", "-", name).strip("-.").encode()[:100].decode(errors="ignore") or "unnamed"
        unique, number = slug, 2
        while unique.casefold() in taken:
            unique, number = f"{slug}-{number}", number + 1
        taken.add(unique.casefold())
        unique_names.append(unique)
    return unique_names
