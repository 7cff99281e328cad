"""How a model is run, and left as it was: evaluation mode, eager, hooks of one thread, settings of the process."""

import contextlib
import contextvars
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from xai_core.locks import Uninterrupted

Forward = Callable[[nn.Module, Tensor], Any]
"""How a model is called."""
Autocast = Callable[[], contextlib.AbstractContextManager[Any]]
"""Enters the caller's autocast setting."""


@contextlib.contextmanager
def explaining(model: nn.Module, gradients: bool) -> Iterator[None]:
    """Run a model as it is explained: in evaluation mode, eagerly, with or without a graph from the start."""
    with _evaluating(model), _eager(), torch.inference_mode(False), torch.set_grad_enabled(gradients):
        yield


@contextlib.contextmanager
def scoring(model: nn.Module) -> Iterator[None]:
    """Run a model as it is scored: in evaluation mode and without a graph, compiled if it is compiled."""
    with _evaluating(model), torch.inference_mode(False), torch.no_grad():
        yield


@contextlib.contextmanager
def listening(
    before: Mapping[nn.Module, Callable[..., Any]] | None = None,
    after: Mapping[nn.Module, Callable[..., Any]] | None = None,
) -> Iterator[None]:
    """Place hooks that answer to this thread only; all are gone afterwards, whatever happens.

    `before` hooks are called with (module, args, kwargs), `after` hooks with (module, args, output).
    """
    handles = []
    try:
        with lock:
            for module, hook in (before or {}).items():
                handles.append(module.register_forward_pre_hook(OwnHook(hook), with_kwargs=True))
            for module, hook in (after or {}).items():
                handles.append(module.register_forward_hook(OwnHook(hook)))
        yield
    finally:
        with lock:
            for handle in handles:
                handle.remove()


class OwnHook:
    """A hook that the engine placed, which answers to the thread that placed it."""

    def __init__(self, hook: Callable[..., Any]) -> None:
        self._hook, self._owner = hook, threading.get_ident()

    def __call__(self, *args: Any) -> Any:
        return self._hook(*args) if threading.get_ident() == self._owner else None


def substituting(
    layer: nn.Module, given: bool, substitute: Callable[[Any], Any]
) -> contextlib.AbstractContextManager[None]:
    """Put what a function makes of it in the place of a layer's output, or of what it is `given`; None keeps it."""
    if not given:
        return listening(after={layer: lambda module, args, output: substitute(output)})

    def before(module: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> Any:
        found = substitute(args if args else kwargs)
        if found is None:
            return None
        return (found, kwargs) if args else (args, found)

    return listening(before={layer: before})


lock = Uninterrupted()
"""Held while hooks or modes of a model change."""
_set_to_evaluation: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


class _ForTheProcess:
    """A setting that belongs to the whole process: the first thread in makes it, the last one out restores it."""

    def __init__(self, enter: Callable[[], contextlib.AbstractContextManager[Any]]) -> None:
        self._enter, self._holders, self._entered = enter, 0, contextlib.ExitStack()
        self._context = contextvars.copy_context()  # which a setting in a context variable is made and restored in

    @contextlib.contextmanager
    def __call__(self) -> Iterator[None]:
        with lock:
            if not self._holders:
                self._context.run(self._entered.enter_context, self._enter())
            self._holders += 1
        try:
            yield
        finally:
            with lock:
                self._holders -= 1
                if not self._holders:
                    self._context.run(self._entered.close)


_force_eager = _ForTheProcess(lambda: torch.compiler.set_stance("force_eager"))
unfused_attention = _ForTheProcess(lambda: sdpa_kernel(SDPBackend.MATH))  # fused kernels have no second derivative


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Clear `training` flags while any thread needs them cleared; the last one out restores them."""
    with lock:
        modules = [module for module in model.modules() if module.training or module in _set_to_evaluation]
        for module in modules:
            _set_to_evaluation[module] = _set_to_evaluation.get(module, 0) + 1
            module.training = False
    try:
        yield
    finally:
        with lock:
            for module in modules:
                _set_to_evaluation[module] -= 1
                if not _set_to_evaluation[module]:
                    del _set_to_evaluation[module]
                    module.training = True


def resting_modes(modules: Iterable[nn.Module]) -> list[bool]:
    """Whether modules are in training mode where no pass is running; `lock` is held."""
    held = {id(module) for module in _set_to_evaluation}
    return [module.training or id(module) in held for module in modules]


def rest_in(module: nn.Module, training: bool) -> None:
    """Put a module in the mode that it rests in; `lock` is held."""
    if module not in _set_to_evaluation:
        module.training = training


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside `torch.compile` and data-parallel wrappers."""
    while True:
        if "_orig_mod" in model._modules:
            model = model.get_submodule("_orig_mod")
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


@contextlib.contextmanager
def _eager() -> Iterator[None]:
    """Run compiled modules eagerly, since compiled code ignores hooks that are added later."""
    with _force_eager() if "torch._dynamo" in sys.modules else contextlib.nullcontext():
        yield


def autocast_of(device: torch.device) -> Autocast:
    """The caller's autocast setting, to be entered again where the model runs."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext
    enabled, dtype = torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)
    return lambda: torch.autocast(device.type, dtype=dtype, enabled=enabled)


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Explainers and metrics compute in the precision that they are given, whatever the model runs in."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)
