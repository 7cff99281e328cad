"""Files that are whole or absent, folders that are not overwritten, and names that do not clash."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from xai_core.errors import FileError


def write(path: Path, content: bytes | str) -> None:
    """Write a file so that whoever reads it sees all of it, or what was there before.

    Raises
    ------
    FileError
        Where it cannot be written.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise FileError(f"cannot write {path}: {error.strerror}") from error


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


def unused(path: Path) -> Path:
    """The path, or the first of `path-2`, `path-3`, ... that does not exist."""
    free, number = path, 2
    while free.exists():
        free, number = path.with_name(f"{path.name}-{number}"), number + 1
    return free


def distinct(names: Iterable[str]) -> list[str]:
    """A file name for each name, in order: letters, digits and `._=+-` only, no two alike on any file system."""
    made: list[str] = []
    taken: set[str] = set()
    for name in names:
        slug = re.sub(r"[^\w.=+]+", "-", name).strip("-.")[:100] or "unnamed"
        unique, number = slug, 2
        while unique.casefold() in taken:
            unique, number = f"{slug}-{number}", number + 1
        taken.add(unique.casefold())
        made.append(unique)
    return made
