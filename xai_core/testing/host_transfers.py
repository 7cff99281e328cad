"""Detection of transfers from the device to the host, also on the CPU, where such a transfer costs nothing."""

import contextlib
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_OPERATIONS = frozenset(
    {"_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "unique", "_unique2", "unique_dim"}
)
"""Operations that read a value, or whose output shape depends on values."""
_METHODS = frozenset({"tolist", "numpy", "cpu", "__array__"})
"""Methods that copy a tensor to the host. On a CPU tensor they run no operation that the dispatcher could report."""


@contextlib.contextmanager
def host_transfers() -> Iterator[list[str]]:
    """Collect device-to-host transfers as `file:line: operation`, without those of xai-core itself."""
    transfers: list[str] = []
    with _Methods(transfers), _Operations(transfers):
        yield transfers


class _Methods(TorchFunctionMode):
    def __init__(self, transfers: list[str]) -> None:
        super().__init__()
        self._transfers = transfers

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in _METHODS and args and isinstance(args[0], Tensor):
            _record(self._transfers, name)
        return func(*args, **(kwargs or {}))


class _Operations(TorchDispatchMode):
    def __init__(self, transfers: list[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._transfers = transfers

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # otherwise PyTorch imports its compiler here, which takes longer than all checks

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.partition(".")[0]
        copied = name == "_to_copy" and (kwargs or {}).get("device") == torch.device("cpu")
        masked = name == "index" and any(_is_mask(index) for index in _indices(args))
        if name in _OPERATIONS or copied or masked:
            _record(self._transfers, name.strip("_"))
        return func(*args, **(kwargs or {}))


def _indices(args: Any) -> Any:
    return args[1] if len(args) > 1 and isinstance(args[1], list | tuple) else ()


def _is_mask(index: Any) -> bool:
    return isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8)


def _record(transfers: list[str], name: str) -> None:
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and (_module(frame) == __name__ or _module(frame).partition(".")[0] == "torch"):
        frame = frame.f_back
    if frame is not None and not _module(frame).startswith("xai_core."):
        transfers.append(f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_lineno}: {name}")


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))
