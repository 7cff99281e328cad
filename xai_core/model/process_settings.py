"""Process-wide settings of PyTorch that a pass requires. The last thread that leaves a setting restores it."""

import contextlib
import contextvars
import threading
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.utils.checkpoint
from torch.nn.attention import SDPBackend, sdpa_kernel

from xai_core.locks import UninterruptedLock


class ProcessSetting:
    """A process-wide setting. The first thread that enters applies it, and the last that exits restores it."""

    def __init__(self, enter: Callable[[], contextlib.AbstractContextManager[Any]]) -> None:
        self._enter, self._holders, self._entered = enter, 0, contextlib.ExitStack()
        self._context = contextvars.copy_context()  # where context variables are set and restored
        self._lock = UninterruptedLock()

    @property
    def active(self) -> bool:
        """Return whether any thread has entered."""
        return self._holders > 0

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            if not self._holders:
                self._context.run(self._entered.enter_context, self._enter())
            self._holders += 1
        try:
            yield
        finally:
            with self._lock:
                self._holders -= 1
                if not self._holders:
                    self._context.run(self._entered.close)


@contextlib.contextmanager
def _without_fast_path() -> Iterator[None]:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


force_eager = ProcessSetting(lambda: torch.compiler.set_stance("force_eager"))
unfused_attention = ProcessSetting(lambda: sdpa_kernel(SDPBackend.MATH))  # fused kernels have no second derivative
without_cudnn = ProcessSetting(lambda: torch.backends.cudnn.flags(enabled=False))
without_fast_path = ProcessSetting(_without_fast_path)
"""Runs `nn.TransformerEncoder` without its fast path, which converts padded tokens to nested tensors."""


_CheckpointFunction = torch.utils.checkpoint.CheckpointFunction
_this_thread = threading.local()


class _NoCheckpoint:
    """Replaces the autograd function of reentrant checkpoints."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve_rng_state: bool, *args: Any) -> Any:
        """Run the function without a checkpoint in threads that require this, and with a checkpoint in others."""
        if getattr(_this_thread, "passes", 0):
            return function(*args)
        return _CheckpointFunction.apply(function, preserve_rng_state, *args)


@contextlib.contextmanager
def _no_checkpoints() -> Iterator[None]:
    torch.utils.checkpoint.CheckpointFunction = _NoCheckpoint  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        torch.utils.checkpoint.CheckpointFunction = _CheckpointFunction  # type: ignore[misc]


_replaced_checkpoints = ProcessSetting(_no_checkpoints)


@contextlib.contextmanager
def without_reentrant_checkpoints() -> Iterator[None]:
    """Run reentrant checkpoints of this thread as plain calls, because `torch.autograd.grad` does not support them."""
    _this_thread.passes = getattr(_this_thread, "passes", 0) + 1
    try:
        with _replaced_checkpoints():
            yield
    finally:
        _this_thread.passes -= 1
