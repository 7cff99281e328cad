"""SHA-256 checksums of a shard's files and of its manifest, as `sha256sum` writes and checks them."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from xai_core.files import is_openable

_LINE = re.compile(r"([0-9a-f]{64})  (\S+)\n")


def checksum(content: bytes) -> str:
    """Return the SHA-256 of a file's content, as 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def file_checksum(path: Path) -> str:
    """Return the SHA-256 of a file, which is read in blocks.

    Raises
    ------
    OSError
        If the file cannot be read, or is a pipe, socket or device.
    """
    if not is_openable(path):
        raise OSError("it is a pipe, socket or device")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def encode_checksums(checksums: Mapping[str, str]) -> str:
    """Return a line for each path: its checksum, and the path."""
    return "".join(f"{digits}  {path}\n" for path, digits in checksums.items())


def decode_checksums(text: str) -> dict[str, str]:
    """Return the checksums of a file by path. Lines in another format are omitted."""
    return {path: digits for digits, path in _LINE.findall(text)}
