"""Changes how PyTorch runs a model for an explanation if an unchanged run would fail.

- An inference tensor cannot be saved for a backward pass. A normal tensor with the same storage replaces it.
- A cuDNN kernel of a recurrent layer has no backward pass in evaluation mode. PyTorch's own kernel replaces it.
- `Tensor.register_hook` and `Tensor.retain_grad` fail in a forward pass without a graph. Such a pass skips them.
- The fast path of `nn.TransformerEncoder` passes nested tensors to its layers. It is disabled.
"""

import contextlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only
from torch.utils.hooks import RemovableHandle

from xai_core.model.process_settings import without_cudnn, without_fast_path

CUDNN_DEVICES = ("cuda",)
RECURRENT = frozenset({"lstm", "gru", "rnn_tanh", "rnn_relu"})
_HOOKS = (Tensor.register_hook, Tensor.retain_grad)
_registers_hooks: WeakKeyDictionary[nn.Module, bool] = WeakKeyDictionary()
"""For each model that has run, whether it registers hooks on tensors."""


@contextlib.contextmanager
def compatible(model: nn.Module) -> Iterator[None]:
    """Run a model such that gradients are possible, and also without a graph."""
    modules = list(model.modules())
    recurrent = any(isinstance(module, nn.RNNBase) for module in modules)
    encoder = any(isinstance(module, nn.TransformerEncoder) for module in modules)
    own_tensors = (chain(module._parameters.values(), module._buffers.values()) for module in modules)
    inference = any(tensor is not None and tensor.is_inference() for tensors in own_tensors for tensor in tensors)
    with without_fast_path() if encoder else contextlib.nullcontext():
        if not (recurrent or inference or _registers_hooks.get(model, True)):
            yield
            return
        with _Replacements(inference) as replacements:
            yield
        _registers_hooks[model] = replacements.registers_hooks


def without_graph(model: nn.Module) -> contextlib.AbstractContextManager[Any]:
    """Run a model without a graph, after it has run with `compatible` once."""
    return _Replacements(inference=False) if _registers_hooks.get(model, False) else contextlib.nullcontext()


class _Replacements(TorchFunctionMode):
    def __init__(self, inference: bool) -> None:
        super().__init__()
        self._inference = inference
        self.registers_hooks = False

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func in _HOOKS:
            self.registers_hooks = True
            if not args[0].requires_grad:
                return None if func is Tensor.retain_grad else RemovableHandle(OrderedDict())
        if self._inference:
            args, kwargs = tree_map_only(Tensor, _normal, (args, kwargs))
        if getattr(func, "__name__", "") in RECURRENT and args[0].device.type in CUDNN_DEVICES:
            with without_cudnn():
                return func(*args, **kwargs)
        return func(*args, **kwargs)


def _normal(tensor: Tensor) -> Tensor:
    """Return a normal tensor with the storage of an inference tensor."""
    if not tensor.is_inference() or tensor.is_quantized or tensor.layout != torch.strided:
        return tensor
    normal = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return normal.set_(tensor.untyped_storage(), tensor.storage_offset(), tensor.shape, tensor.stride())
