"""Writes the files of a page, and recognizes files that were changed since."""

from collections.abc import Mapping
from pathlib import Path

from xai_core import files
from xai_core.benchmarking.checksums import checksum, decode_checksums, encode_checksums, file_checksum

CHECKSUMS = "checksums.sha256"


def write_page(folder: Path, contents: Mapping[str, bytes | str], overwrite: bool = False) -> None:
    """Write files by their paths in a folder, with their checksums.

    A file that an earlier call wrote is replaced if it is unchanged since then.

    Raises
    ------
    FileError
        If another file would be overwritten and `overwrite` is false, or if a file cannot be written.
    """
    encoded = {path: content.encode() if isinstance(content, str) else content for path, content in contents.items()}
    if not overwrite:
        files.require_unused([folder / path for path in encoded if not _is_own(folder, path)], "--out")
    for path, content in encoded.items():
        files.make_folder((folder / path).parent)
        files.write_file(folder / path, content)
    files.write_file(folder / CHECKSUMS, encode_checksums({path: checksum(data) for path, data in encoded.items()}))


def _is_own(folder: Path, path: str) -> bool:
    """Return whether a file has the content that an earlier call wrote."""
    try:
        expected = decode_checksums((folder / CHECKSUMS).read_text(encoding="utf-8"))
        return expected.get(path) == file_checksum(folder / path)
    except OSError:
        return False
