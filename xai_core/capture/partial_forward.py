"""Runs only the part of a model after a layer, on activations that replace the layer's output.

The model's own forward method runs, so that any architecture is supported. Before the layer, it runs on meta tensors,
which have shapes but no values. At the layer, the activation replaces the output, and the rest computes values. If the
rest needs a value from before the layer (a skip connection), the partial pass fails or its output has no values. Then
the whole model runs on the images, and the activation replaces the layer's output.
"""

import contextlib
from collections.abc import Callable, Hashable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from xai_core.memory_errors import out_of_memory
from xai_core.model.execution import Forward, explaining, substituting
from xai_core.model.runtimes import replaces_tensors
from xai_core.outputs import Path, tensors_of, with_first_tensor, with_leaves


class PartialForward:
    """The part of a model after a layer, as a function of the layer's output.

    If the activations require gradients, the function is differentiable.

    Parameters
    ----------
    model
        The model.
    forward
        Calls the model.
    layer
        The layer's module.
    images
        The images of the batch. The whole model runs on them if the part cannot run alone.
    call
        The index of the layer's call, from 0, in which its output is replaced.
    path
        The path of the replaced tensor in this output.
    at_input
        Whether to replace the first tensor of the layer's input instead.
    context
        Creates a context for each run of the model, such as one that reads attention.

    Attributes
    ----------
    alone
        Whether the part runs alone. False once an attempt has failed, and for weights that are sharded or offloaded.
    """

    def __init__(
        self,
        model: nn.Module,
        forward: Forward,
        layer: nn.Module,
        images: Float[Tensor, "B C *size"],
        call: int = 0,
        path: Path = (),
        at_input: bool = False,
        context: Callable[[], contextlib.AbstractContextManager[Any]] = contextlib.nullcontext,
    ) -> None:
        self._model, self._forward, self._layer, self._images = model, forward, layer, images
        self._call, self._path, self._at_input = call, path, at_input
        self._context = context
        self._shapes: dict[Hashable, Any] = {}
        self.alone = not replaces_tensors(model)

    def __call__(self, activation: Float[Tensor, "..."], of: Int[Tensor, " N"]) -> Any:
        """Return the model's output for N activations. For each activation, `of` contains the index of its image."""
        with explaining(self._model, gradients=False):
            if self.alone:
                try:
                    output = self._after_the_layer(activation, of)
                    self.alone = not any(tensor.is_meta for tensor in tensors_of(output))
                except (RuntimeError, TypeError, ValueError, IndexError) as error:  # an operation needs values
                    if out_of_memory(error):
                        raise
                    self.alone = False
            return output if self.alone else self._substituted(activation, self._images[of], of, contextlib.ExitStack())

    def _after_the_layer(self, activation: Tensor, of: Tensor) -> Any:
        images = self._images[:1].to("meta").expand(len(of), *self._images.shape[1:])
        with contextlib.ExitStack() as before:
            before.enter_context(_ShapesOnly(self._shapes))
            return self._substituted(activation, images, of, before)

    def _substituted(self, activation: Tensor, images: Tensor, of: Tensor, before: contextlib.ExitStack) -> Any:
        with contextlib.ExitStack() as after:

            def substitute(output: Any) -> Any:
                before.close()
                after.enter_context(_NoInventedValues())
                torch.set_grad_enabled(activation.requires_grad)
                replacement = activation.clone()  # the model may write to it
                if self._at_input:
                    return with_first_tensor(output, replacement)
                return with_leaves(output, {self._path: replacement})

            with substituting(self._layer, self._at_input, substitute, self._call), self._context():
                return self._forward(self._model, images, of)


class _ShapesOnly(TorchDispatchMode):
    """Runs every operation on meta tensors, and caches the results for later blocks.

    PyTorch infers the shapes of some operations, such as batch norm, more slowly than it computes them.
    """

    def __init__(self, cache: dict[Hashable, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cache = cache

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (args, kwargs or {}))
        if kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": torch.device("meta")}
        if torch.Tag.pointwise in func.tags and func._schema.name.endswith("_"):
            return args[0]  # an in-place operation changes values only
        if any(argument.alias_info for argument in func._schema.arguments):  # views and other in-place operations
            return func(*args, **kwargs)
        key = func, _shapes_in(args), _shapes_in(tuple(sorted(kwargs.items())))
        if key not in self._cache:
            self._cache[key] = func(*args, **kwargs)
        return tree_map_only(Tensor, _empty_like, self._cache[key])


def _shapes_in(value: Any) -> Hashable:
    """Return a key that is equal for arguments whose results have equal shapes."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    return tuple(map(_shapes_in, value)) if isinstance(value, list | tuple) else (type(value), value)


def _empty_like(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


class _NoInventedValues(TorchDispatchMode):
    """Raises an error if an operation on tensors with and without values returns a tensor with values.

    For example, a meta tensor that is written into a tensor with values is lost without an error. An index on the meta
    device, such as an input of an embedding, selects arbitrary values.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        is_meta = {tensor.is_meta for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)}
        if func._schema.is_mutable and len(is_meta) == 2:
            raise RuntimeError(f"{func} would write a meta tensor into a tensor with values")
        result = func(*args, **kwargs)
        if len(is_meta) == 2 and not all(tensor.is_meta for tensor in tensors_of(result)):
            raise RuntimeError(f"{func} would return values that depend on a meta tensor")
        return result
