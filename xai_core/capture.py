"""One forward and at most one backward for all explainers together, without a trace left on the model.

This is the only file that adds hooks or turns gradients on. The forward runs without a graph up to the
earliest captured layer; there the hook hands on a clone of a detached leaf and switches gradients on, so
that frozen parameters, in-place activations and `.grad` never matter. Hooks answer only to the thread that
placed them.
"""

import contextlib
import copy
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai_core.attention import AttentionLayer, AttentionReader
from xai_core.errors import LayerError, NotConnectedError
from xai_core.target import Target

Layer = str | int | nn.Module
"""A layer by module name (an integer stands for a name such as `7`) or the module itself."""
Forward = Callable[[nn.Module, Tensor], Any]


@dataclass(frozen=True)
class Capture:
    """What an explainer needs of one pass through the model.

    Attributes
    ----------
    activations
        Layers, by module name or module, whose output is wanted.
    gradients
        Whether the gradient of the target's score at those layers is wanted too.
    attention
        Whether the attention of every layer is wanted.
    """

    activations: tuple[Layer, ...] = ()
    gradients: bool = False
    attention: bool = False


@dataclass(frozen=True, eq=False)
class Record:
    """What one pass gave: layer outputs and gradients by name, attention by order, output and target."""

    images: Float[Tensor, "B C H W"]
    output: Any
    target: Target
    activations: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    attention: Sequence[AttentionLayer]


def capture(
    model: nn.Module,
    forward: Forward,
    images: Float[Tensor, "B C H W"],
    layers: Mapping[str, bool],
    attention: bool,
    bind: Callable[[Any], Target],
    score: Callable[[Target, Any], Tensor],
) -> Record:
    """Run the model once, and backward at most once, and keep what was asked for.

    Parameters
    ----------
    model
        The module whose submodules `layers` name.
    layers
        Layer names, each with whether its gradient is wanted.
    bind, score
        Make the target of the output, and its [B] scores.

    Raises
    ------
    LayerError
        Where a layer did not run or gave no tensor.
    NotConnectedError
        Where the score does not depend on a layer whose gradient is wanted.
    """
    record, missing = _pass(model, forward, images, layers, attention, bind, score, grad_from_start=False)
    if missing:
        # A `no_grad` block inside the model that ends after the layer cut the graph: keep one all along.
        record, missing = _pass(model, forward, images, layers, attention, bind, score, grad_from_start=True)
    if missing:
        raise NotConnectedError(
            f"the target's score does not depend on {missing}: the layer is not on the way to it, or the model "
            "cuts the graph (no_grad, detach) after it; choose another layer"
        )
    return record


def _pass(
    model: nn.Module,
    forward: Forward,
    images: Tensor,
    layers: Mapping[str, bool],
    attention: bool,
    bind: Callable[[Any], Target],
    score: Callable[[Target, Any], Tensor],
    grad_from_start: bool,
) -> tuple[Record, list[str]]:
    taken: dict[str, Tensor] = {}
    seen: list[AttentionLayer] = []
    wanted = [name for name, gradient in layers.items() if gradient]

    def take(name: str, output: Any) -> Any:
        tensor = first_tensor(output)
        if tensor is None:
            raise LayerError(f"layer {name!r} gives {type(output).__name__}, which holds no tensor")
        if name not in wanted:
            taken[name] = tensor.detach().clone()
            return None
        if tensor.requires_grad and any(other in taken for other in wanted):
            taken[name] = tensor
        else:
            taken[name] = tensor.detach().clone().requires_grad_()
        torch.set_grad_enabled(True)
        return _with_first_tensor(output, taken[name].clone())

    modules = dict(model.named_modules())
    hooks = {modules[name]: lambda module, args, output, name=name: take(name, output) for name in layers}
    reader = AttentionReader(len(images), seen.append) if attention else contextlib.nullcontext()
    with explaining(model, grad_from_start), listening(after=hooks), reader:
        output = forward(model, images)
    absent = [name for name in layers if name not in taken]
    if absent:
        raise LayerError(f"layer {absent[0]!r} did not run in this model's forward; choose one that does")

    gradients: dict[str, Tensor] = {}
    with torch.inference_mode(False), torch.set_grad_enabled(bool(wanted)):
        target = bind(output)
        if wanted:
            scores = score(target, output)
            if not scores.requires_grad:
                return Record(images, output, target, {}, {}, seen), wanted
            found = torch.autograd.grad(
                scores, [taken[name] for name in wanted], torch.ones_like(scores), allow_unused=True
            )
            gradients = {name: grad for name, grad in zip(wanted, found, strict=True) if grad is not None}
    activations = {name: tensor.detach() for name, tensor in taken.items()}
    record = Record(images, _detached(output), target, activations, gradients, seen)
    return record, [name for name in wanted if name not in gradients]


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
    owner = threading.get_ident()

    def mine(hook: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: hook(*args) if threading.get_ident() == owner else None

    with contextlib.ExitStack() as placed:
        for module, hook in (before or {}).items():
            placed.callback(module.register_forward_pre_hook(mine(hook), with_kwargs=True).remove)
        for module, hook in (after or {}).items():
            placed.callback(module.register_forward_hook(mine(hook)).remove)
        yield


_lock = threading.Lock()
_set_to_evaluation: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()
_eager_holders = 0
_eager_stance = contextlib.ExitStack()


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Clear `training` flags while any thread needs them cleared; the last one out restores them."""
    with _lock:
        modules = [module for module in model.modules() if module.training or module in _set_to_evaluation]
        for module in modules:
            _set_to_evaluation[module] = _set_to_evaluation.get(module, 0) + 1
            module.training = False
    try:
        yield
    finally:
        with _lock:
            for module in modules:
                _set_to_evaluation[module] -= 1
                if not _set_to_evaluation[module]:
                    del _set_to_evaluation[module]
                    module.training = True


@contextlib.contextmanager
def _eager() -> Iterator[None]:
    """Run compiled modules eagerly, since compiled code ignores hooks that are added later.

    The compiler's stance belongs to the whole process, so the last thread out restores it.
    """
    global _eager_holders
    if "torch._dynamo" not in sys.modules:  # nothing can have been compiled
        yield
        return
    with _lock:
        if not _eager_holders:
            _eager_stance.enter_context(torch.compiler.set_stance("force_eager"))
        _eager_holders += 1
    try:
        yield
    finally:
        with _lock:
            _eager_holders -= 1
            if not _eager_holders:
                _eager_stance.close()


def first_tensor(output: Any) -> Tensor | None:
    """The tensor that a module's output is, or the first one in the tuple, list or mapping that it is."""
    if isinstance(output, Tensor):
        return output
    if isinstance(output, Mapping):
        output = tuple(output.values())
    return first_tensor(output[0]) if isinstance(output, tuple | list) and output else None


def _with_first_tensor(output: Any, tensor: Tensor) -> Any:
    """The same output with its first tensor replaced."""
    if isinstance(output, Tensor):
        return tensor
    if isinstance(output, Mapping):
        copied = copy.copy(output)
        key = next(iter(output))
        copied[key] = _with_first_tensor(output[key], tensor)  # type: ignore[index]
        return copied
    replaced = [_with_first_tensor(output[0], tensor), *output[1:]]
    return output._make(replaced) if hasattr(output, "_make") else type(output)(replaced)


def _detached(output: Any) -> Any:
    """The same output without its graph, wherever it is a tensor or holds tensors."""
    if isinstance(output, Tensor):
        return output.detach()
    if isinstance(output, Mapping):
        copied = copy.copy(output)
        for key, value in output.items():
            copied[key] = _detached(value)  # type: ignore[index]
        return copied
    if isinstance(output, tuple | list):
        parts = [_detached(part) for part in output]
        return output._make(parts) if hasattr(output, "_make") else type(output)(parts)
    return output
