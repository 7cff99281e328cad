"""The settings of the process and of a thread that plugins must not change: how they are read and restored."""

import contextlib
import gc
import os
import pickle
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.modules import module as torch_modules

from xai_core.model.process_settings import unfused_attention, without_cudnn

_GLOBAL_HOOKS = ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")
_SMALLEST = sys.float_info.min
_SIGNALS = [number for number in signal.Signals if number.name not in ("SIGKILL", "SIGSTOP", "SIGRTMIN", "SIGRTMAX")]


@dataclass(frozen=True)
class Setting:
    """A setting of the process or of a thread.

    Attributes
    ----------
    name
        Name in error messages.
    read
        Returns the current value. None means that it is unknown, and is not compared.
    write
        Restores a value.
    adds
        Whether a current value only adds to an earlier value, as modules do when they are imported.
    reported
        Whether a change raises an error. Otherwise, it is only undone.
    """

    name: str
    read: Callable[[], Any]
    write: Callable[[Any], object]
    adds: Callable[[Any, Any], bool] = lambda before, now: False
    reported: bool = True

    def described(self, before: Any, now: Any) -> str:
        """Return the name of the setting, with the names of the entries that differ."""
        if not isinstance(before, Mapping):
            return self.name
        names = sorted(name for name in {**before, **now} if before.get(name) != now.get(name))
        return f"{self.name} {', '.join(names)}"


class WarningFilters:
    """The warning filters. Different lists count as equal, because `catch_warnings` replaces and restores the list."""

    def __init__(self) -> None:
        self._list: Any = warnings.filters
        self._filters = [*self._list]

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, WarningFilters)
        return self._list is not other._list or self._filters == other._filters

    __hash__ = None  # type: ignore[assignment] # compared by value

    def added_by(self, other: "WarningFilters") -> bool:
        """Return whether another value contains these filters in the same order."""
        return [each for each in other._filters if each in self._filters] == self._filters

    def restore(self) -> None:
        """Restore the filters."""
        with warnings.catch_warnings():  # whose end invalidates caches
            self._list[:] = self._filters


def _default_device() -> tuple[Any]:
    return (getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None),)


def _set_default_device(value: tuple[Any]) -> None:
    torch.set_default_device(None if value[0] is None else value[0].device)


def _signal_handlers() -> dict[str, Any] | None:
    """Return the handlers of signals, which only the main thread can change."""
    if threading.current_thread() is not threading.main_thread():
        return None
    return {number.name: signal.getsignal(number) for number in _SIGNALS}


def _set_signal_handlers(handlers: Mapping[str, Any]) -> None:
    for name, handler in handlers.items():
        number = signal.Signals[name]
        if handler is not None and handler is not signal.getsignal(number):
            signal.signal(number, handler)


def _matmul_precision() -> str | None:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # it was set for one backend only
        return None


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _cudnn() -> tuple[bool, ...] | None:
    """Return the flags of cuDNN, unless a pass of the engine has set them."""
    flags = torch.backends.cudnn
    return None if without_cudnn.active else (flags.enabled, flags.benchmark, flags.deterministic, flags.allow_tf32)


def _set_cudnn(values: tuple[bool, bool, bool, bool]) -> None:
    flags = torch.backends.cudnn
    flags.enabled, flags.benchmark, flags.deterministic, flags.allow_tf32 = values


def _flushes_denormals() -> bool:
    return _SMALLEST / 2 == 0


def _autocast() -> list[tuple[str, bool, torch.dtype]]:
    return [(kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in ("cpu", "cuda")]


def _set_autocast(values: list[tuple[str, bool, torch.dtype]]) -> None:
    for kind, enabled, dtype in values:
        torch.set_autocast_enabled(kind, enabled)
        torch.set_autocast_dtype(kind, dtype)


def _attention_kernels() -> tuple[bool, ...] | None:
    """Return the enabled kernels of attention, unless a pass of the engine has set them."""
    if unfused_attention.active:
        return None
    kernels = torch.backends.cuda
    fused = kernels.flash_sdp_enabled(), kernels.mem_efficient_sdp_enabled()
    return *fused, kernels.math_sdp_enabled(), kernels.cudnn_sdp_enabled()


def _set_attention_kernels(values: tuple[bool, ...]) -> None:
    flash, memory_efficient, math, cudnn = values
    torch.backends.cuda.enable_flash_sdp(flash)
    torch.backends.cuda.enable_mem_efficient_sdp(memory_efficient)
    torch.backends.cuda.enable_math_sdp(math)
    torch.backends.cuda.enable_cudnn_sdp(cudnn)


def _set_streams(streams: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = streams


def _set_import_path(path: list[str]) -> None:
    sys.path[:] = path


def _contains_in_order(before: list[str], now: list[str]) -> bool:
    return [each for each in now if each in before] == before


def _set_garbage_collector(enabled: bool) -> None:
    gc.enable() if enabled else gc.disable()


def _global_hooks() -> list[dict[int, Any]]:
    return [dict(vars(torch_modules)[name]) for name in _GLOBAL_HOOKS]


def _set_global_hooks(values: list[dict[int, Any]]) -> None:
    for name, hooks in zip(_GLOBAL_HOOKS, values, strict=True):
        vars(torch_modules)[name].clear()
        vars(torch_modules)[name].update(hooks)


def _set_environment(variables: Mapping[str, str]) -> None:
    for name in os.environ.keys() - variables.keys():
        del os.environ[name]
    os.environ.update(variables)


def _working_directory() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # it was deleted
        return ""


def _set_working_directory(path: str) -> None:
    with contextlib.suppress(OSError):
        os.chdir(path)


def _torch_random() -> list[bytes]:
    on_gpus = torch.cuda.default_generators if torch.cuda.is_initialized() else ()
    return [generator.get_state().numpy().tobytes() for generator in (torch.default_generator, *on_gpus)]


def _set_torch_random(states: list[bytes]) -> None:
    for generator, state in zip((torch.default_generator, *torch.cuda.default_generators), states, strict=False):
        generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


OF_THREAD = (
    Setting("the grad mode", torch.is_grad_enabled, torch.set_grad_enabled),
    Setting("the default device", _default_device, _set_default_device),
    Setting("autocast", _autocast, _set_autocast),
    Setting("the flush of denormal numbers", _flushes_denormals, torch.set_flush_denormal),
    Setting("the error handling of NumPy", np.geterr, lambda values: np.seterr(**values)),
    Setting("the number of threads", torch.get_num_threads, torch.set_num_threads),
    Setting("the handler of", _signal_handlers, _set_signal_handlers),
)
"""Settings that differ between threads, or that only one thread can change."""
OF_PROCESS = (
    Setting("the default dtype", torch.get_default_dtype, torch.set_default_dtype),
    Setting(
        "the use of deterministic algorithms",
        _deterministic,
        lambda value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
    ),
    Setting("the precision of matrix products", _matmul_precision, torch.set_float32_matmul_precision),
    Setting("the flags of cuDNN", _cudnn, _set_cudnn),
    Setting("the use of oneDNN", torch._C._get_mkldnn_enabled, torch._C._set_mkldnn_enabled),
    Setting("the kernels of attention", _attention_kernels, _set_attention_kernels),
    Setting(
        "the anomaly detection",
        lambda: (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        lambda values: torch.autograd.set_detect_anomaly(*values),
    ),
    Setting("the hooks of all modules", _global_hooks, _set_global_hooks),
    Setting("the random state of PyTorch", _torch_random, _set_torch_random),
    Setting(
        "the random state of NumPy",
        lambda: pickle.dumps(np.random.get_state(legacy=False)),
        lambda state: np.random.set_state(pickle.loads(state)),
    ),
    Setting("the random state of Python", random.getstate, random.setstate, reported=False),  # type checkers draw
    Setting("the warning filters", WarningFilters, WarningFilters.restore, WarningFilters.added_by),
    Setting(
        "the environment variables",
        lambda: os.environ.copy(),
        _set_environment,
        lambda before, now: before.items() <= now.items(),
    ),
    Setting("the working directory", _working_directory, _set_working_directory),
    Setting("the import path", lambda: [*sys.path], _set_import_path, _contains_in_order),
    Setting("the recursion limit", sys.getrecursionlimit, sys.setrecursionlimit),
    Setting("the standard streams", lambda: (sys.stdout, sys.stderr), _set_streams),
    Setting("the garbage collector", gc.isenabled, _set_garbage_collector),
)
"""Settings of the whole process."""
