"""Inspects the pickle in a file that `torch.save` wrote, without loading any object."""

import pickletools
import zipfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

_MOST = 1_000_000
"""The number of instructions to inspect."""


def has_dict_at_top(path: Path) -> bool:
    """Return whether the pickle consists of a plain dict."""
    return [name for name, _ in islice(_instructions(path), 2)] == ["PROTO", "EMPTY_DICT"]


def texts(path: Path) -> set[str]:
    """Return all text in the pickle, such as the keys of its dicts."""
    return {argument for name, argument in islice(_instructions(path), _MOST) if "UNICODE" in name and argument}


def _instructions(path: Path) -> Iterator[tuple[str, Any]]:
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        for entry in archive.namelist():
            if entry.endswith("data.pkl"):
                with archive.open(entry) as pickled:
                    for opcode, argument, _ in pickletools.genops(pickled):
                        yield opcode.name, argument
