"""Reads untrusted files that `torch.save` wrote: no code of the file runs, and no small file fills the memory."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from xai_core.plugin import CheckpointError, file_limit

MAX_BYTES = "XAI_MAX_CHECKPOINT_BYTES"
"""The environment variable that changes the limit on the unpacked size of a compressed file."""
_DEFAULT = 2**30
_ZIP = b"PK\x03\x04"


def load_torch_file(path: Path) -> Any:
    """Return the tensors and containers in a file that `torch.save` wrote, on the CPU.

    `torch.save` does not compress. A compressed file is read if it unpacks to at most 1 GiB, or to the limit that the
    environment variable `XAI_MAX_CHECKPOINT_BYTES` sets.

    Raises
    ------
    CheckpointError
        If the file exceeds the limit. Damaged files raise errors of many other classes.
    """
    unpacked, limit = _unpacked_size(path), file_limit(MAX_BYTES, _DEFAULT)
    if unpacked > max(limit, path.stat().st_size):
        raise CheckpointError(
            f"{path} has {path.stat().st_size:,} bytes, but unpacks to {unpacked:,} bytes; the limit is {limit:,}, and"
            f" you can set {MAX_BYTES} to a larger number if you trust the file"
        )
    return torch.load(path, map_location="cpu", weights_only=True)


def _unpacked_size(path: Path) -> int:
    """Return the sum of the sizes of all files in a zip archive, or zero for a file in PyTorch's older format."""
    with path.open("rb") as file:
        if file.read(len(_ZIP)) != _ZIP:
            return 0
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())
