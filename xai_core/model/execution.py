"""Contexts in which a model runs: evaluation mode, eager code, temporary hooks, process-wide settings, autocast.

Each context restores the previous state at its end.
"""

import contextlib
import itertools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from xai_core.locks import UninterruptedLock
from xai_core.model.compatibility import compatible, without_graph
from xai_core.model.process_settings import force_eager, without_reentrant_checkpoints

Forward = Callable[[nn.Module, Tensor, Tensor], Any]
"""Calls the model on N images: `forward(model, images, of) -> output`.

`of` is an int64 tensor [N] on the images' device. It contains, for each image, the index of its original in the batch.
"""
Autocast = Callable[[], contextlib.AbstractContextManager[Any]]
"""Enters the caller's autocast setting."""

lock = UninterruptedLock()
"""Held while hooks or training flags of a model change."""
_in_evaluation: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
"""For each module whose training flag is cleared, the number of passes that require this."""


@contextlib.contextmanager
def explaining(model: nn.Module, gradients: bool) -> Iterator[None]:
    """Run a model for an explanation: in evaluation mode, eagerly, with gradients enabled or disabled."""
    with (
        _evaluating(model),
        _eager(),
        without_reentrant_checkpoints(),
        torch.inference_mode(False),
        torch.set_grad_enabled(gradients),
        compatible(model),
        _exact_batch_norm(model),
    ):
        yield


@contextlib.contextmanager
def scoring(model: nn.Module) -> Iterator[None]:
    """Run a model for its scores: in evaluation mode, without gradients, compiled if it is compiled."""
    with (
        _evaluating(model),
        without_reentrant_checkpoints(),
        torch.inference_mode(False),
        torch.no_grad(),
        without_graph(unwrapped(model)),
    ):
        yield


@contextlib.contextmanager
def temporary_hooks(
    before: Mapping[nn.Module, Callable[..., Any]] | None = None,
    after: Mapping[nn.Module, Callable[..., Any]] | None = None,
) -> Iterator[None]:
    """Register hooks that run in this thread only, and remove all of them at the end.

    `before` hooks receive (module, args, kwargs), `after` hooks receive (module, args, output).
    """
    handles = []
    try:
        with lock:
            for module, hook in (before or {}).items():
                handles.append(before_forward(module, OwnHook(hook)))
            for module, hook in (after or {}).items():
                handles.append(after_forward(module, OwnHook(hook)))
        yield
    finally:
        with lock:
            for handle in handles:
                handle.remove()


def _exact_batch_norm(model: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Make the gradients at the outputs of batch norm contiguous, for one image on the CPU.

    PyTorch 2.15 computes wrong gradients through batch norm in evaluation mode, for a batch of one whose gradient is in
    the order of tokens.
    """

    def after(module: nn.Module, args: Any, output: Any) -> None:
        if output.requires_grad and len(output) == 1 and output.device.type == "cpu":
            output.register_hook(Tensor.contiguous)

    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    return temporary_hooks(after=dict.fromkeys(norms, after))


def before_forward(module: nn.Module, hook: Callable[..., Any]) -> RemovableHandle:
    """Register a hook that receives (module, args, kwargs), also on a TorchScript module that Python code calls."""
    return nn.Module.register_forward_pre_hook(module, hook, with_kwargs=True)


def after_forward(module: nn.Module, hook: Callable[..., Any]) -> RemovableHandle:
    """Register a hook that receives (module, args, output), also on a TorchScript module that Python code calls."""
    return nn.Module.register_forward_hook(module, hook)


class OwnHook:
    """A hook of the engine. It runs only in the thread that created it."""

    def __init__(self, hook: Callable[..., Any]) -> None:
        self._hook, self._owner = hook, threading.get_ident()

    def __call__(self, *args: Any) -> Any:
        return self._hook(*args) if threading.get_ident() == self._owner else None


def substituting(
    layer: nn.Module, at_input: bool, substitute: Callable[[Any], Any], call: int = 0
) -> contextlib.AbstractContextManager[None]:
    """Replace the output of a layer's call, or its input, by the result of `substitute`, unless the result is None."""
    calls = itertools.count()

    def substituted(value: Any) -> Any:
        return substitute(value) if next(calls) == call else None

    if not at_input:
        return temporary_hooks(after={layer: lambda module, args, output: substituted(output)})

    def before(module: nn.Module, args: Any, kwargs: Mapping[str, Any]) -> Any:
        replacement = substituted(args if args else kwargs)
        if replacement is None:
            return None
        return (replacement, kwargs) if args else (args, replacement)

    return temporary_hooks(before={layer: before})


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Clear the `training` flags while any thread requires it. The last thread that exits restores them."""
    with lock:
        modules = [
            module
            for module in model.modules()
            if getattr(module, "training", False) or module in _in_evaluation  # frozen TorchScript has no flag
        ]
        for module in modules:
            _in_evaluation[module] = _in_evaluation.get(module, 0) + 1
            module.training = False
    try:
        yield
    finally:
        with lock:
            for module in modules:
                _in_evaluation[module] -= 1
                if not _in_evaluation[module]:
                    del _in_evaluation[module]
                    module.training = True


def training_flags(modules: Iterable[nn.Module]) -> list[bool]:
    """Return the `training` flags that the modules have outside of any pass. The caller holds `lock`."""
    cleared = {id(module) for module in _in_evaluation}
    return [module.training or id(module) in cleared for module in modules]


def restore_training_flag(module: nn.Module, training: bool) -> None:
    """Set the `training` flag that a module has outside of any pass. The caller holds `lock`."""
    if module not in _in_evaluation:
        module.training = training


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the module inside `torch.compile` and data-parallel wrappers."""
    while True:
        if "_orig_mod" in model._modules:
            model = model.get_submodule("_orig_mod")
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


@contextlib.contextmanager
def _eager() -> Iterator[None]:
    """Run compiled modules eagerly, because compiled code ignores hooks that are added later."""
    with force_eager() if "torch._dynamo" in sys.modules else contextlib.nullcontext():
        yield


def autocast_of(device: torch.device) -> Autocast:
    """Return the caller's autocast setting, which can be entered wherever the model runs."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext
    enabled, dtype = torch.is_autocast_enabled(device.type), torch.get_autocast_dtype(device.type)
    return lambda: torch.autocast(device.type, dtype=dtype, enabled=enabled)


def without_autocast(device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Disable autocast, so that explainers and metrics compute in the precision of their inputs."""
    if not torch.amp.is_autocast_available(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)
