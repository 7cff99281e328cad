"""Reads untrusted files that `torch.save` wrote: no code of the file runs, and the unpacked size is limited."""

import pickle
import re
import zipfile
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from xai_core.plugin import CheckpointError, file_limit
from xai_zoo.pickled_names import has_dict_at_top, texts

MAX_BYTES = "XAI_MAX_CHECKPOINT_BYTES"
"""The environment variable that changes the limit on the unpacked size of a compressed file."""
WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "teacher", "model_ema", "ema")
"""The names under which training scripts save a state dict, in order of preference."""
EXPECTED = "expected a file that `torch.save(model.state_dict(), file)` wrote, or a safetensors file"
_DEFAULT = 2**30
_ZIP = b"PK\x03\x04"
_HYPERPARAMETERS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    Namespace,
    *((OrderedDict, f"{module}.AttributeDict") for module in (
        "lightning.fabric.utilities.data",
        "lightning.pytorch.utilities.parsing",
        "lightning_fabric.utilities.data",
        "pytorch_lightning.utilities.parsing",
    )),
    *((PurePosixPath, f"{module}.PosixPath") for module in ("pathlib", "pathlib._local")),
]  # fmt: skip
"""Classes of training arguments that checkpoints contain, as harmless classes of the standard library."""


def load_torch_file(path: Path) -> Any:
    """Return the tensors and containers in a file that `torch.save` wrote, on the CPU.

    `torch.save` does not compress. A compressed file is read if it unpacks to at most 1 GiB, or to the limit that the
    environment variable `XAI_MAX_CHECKPOINT_BYTES` sets.

    Raises
    ------
    CheckpointError
        If the file exceeds the limit, or contains objects whose loading can run code, such as a pickled module. Damaged
        files raise errors of many other classes.
    """
    require_unpacked_size(path)
    try:
        with torch.serialization.safe_globals(_HYPERPARAMETERS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(_with_remedy(path, str(error))) from error


def require_unpacked_size(path: Path) -> None:
    """Check the unpacked size of a file of `torch.save`. See `load_torch_file` for the limit.

    Raises
    ------
    CheckpointError
        If the file unpacks to more bytes than the limit.
    """
    unpacked, limit = _unpacked_size(path), file_limit(MAX_BYTES, _DEFAULT)
    if unpacked > max(limit, path.stat().st_size):
        raise CheckpointError(
            f"{path} has {path.stat().st_size:,} bytes, but unpacks to {unpacked:,} bytes; expected at most {limit:,}."
            f" If you trust the file, set {MAX_BYTES} to a larger number"
        )


def _with_remedy(path: Path, message: str) -> str:
    """Return the error message for a file with other objects, with the command that saves a state dict instead."""
    unsupported = re.search(r"GLOBAL (\S+)", message)
    if unsupported is None:
        return f"{path} is not a checkpoint, or contains objects other than tensors; {EXPECTED}"
    state = ".state_dict()"
    if has_dict_at_top(path):
        names = texts(path)
        state = next((f"['{wrapper}']" for wrapper in WRAPPERS if wrapper in names), "")
    saved = path.with_name(f"{path.stem}-weights.pth")
    command = f"import torch; torch.save(torch.load({str(path)!r}, weights_only=False){state}, {str(saved)!r})"
    return (
        f"{path} contains a {unsupported[1]}, and loading such an object can run code; {EXPECTED}. If you trust the"
        f' file, this command saves the state dict to another file: python -c "{command}"'
    )


def _unpacked_size(path: Path) -> int:
    """Return the sum of the sizes of all files in a zip archive, or zero for a file in PyTorch's older format."""
    with path.open("rb") as file:
        if file.read(len(_ZIP)) != _ZIP:
            return 0
    with zipfile.ZipFile(path) as archive:
        return sum(entry.file_size for entry in archive.infolist())
