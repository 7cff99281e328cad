"""Runs only the part of a model after a layer, for activations put in the layer's place.

The model's own forward runs, so that any architecture will do. Up to the layer it runs on meta tensors, which
have shapes and no values; there the activation takes the place of the layer's output, and the rest is real.
Where the rest needs something of before the layer (a skip connection around it), it fails, or its result has no
values; then the whole model runs on the images, with the activation substituted.
"""

import contextlib
from collections.abc import Hashable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from xai_core.model.execution import Forward, explaining, substituting
from xai_core.outputs import tensors_of, with_first_tensor
from xai_core.perturb import out_of_memory


class PartialForward:
    """The part of a model after a layer, as a function of the layer's output, with a graph where that needs one.

    With `given`, it is the part from the layer on, as a function of what the layer is given.

    Parameters
    ----------
    layer
        The layer's module.
    images
        The images of the batch, on which the model runs where the part cannot run alone.
    runs
        How often the layer runs in one forward; what it gives the last time is replaced.
    """

    def __init__(
        self,
        model: nn.Module,
        forward: Forward,
        layer: nn.Module,
        images: Float[Tensor, "B C H W"],
        runs: int = 1,
        given: bool = False,
    ) -> None:
        self._model, self._forward, self._layer, self._images, self._runs = model, forward, layer, images, runs
        self._given = given
        self._shapes: dict[Hashable, Any] = {}
        self.alone = True

    def __call__(self, activation: Float[Tensor, "..."], of: Int[Tensor, " N"]) -> Any:
        """Give the model's output for N activations, each of the image of the batch that `of` says."""
        with explaining(self._model, gradients=False):
            if self.alone:
                try:
                    output = self._after_the_layer(activation, len(of))
                    self.alone = not any(tensor.is_meta for tensor in tensors_of(output))
                except (RuntimeError, TypeError, ValueError, IndexError) as error:  # as a model does without values
                    if out_of_memory(error):
                        raise
                    self.alone = False
            return output if self.alone else self._substituted(activation, self._images[of], contextlib.ExitStack())

    def _after_the_layer(self, activation: Tensor, count: int) -> Any:
        images = self._images[:1].to("meta").expand(count, -1, -1, -1)
        with contextlib.ExitStack() as before:
            before.enter_context(_WithoutValues(self._shapes))
            return self._substituted(activation, images, before)

    def _substituted(self, activation: Tensor, images: Tensor, before: contextlib.ExitStack) -> Any:
        runs = 0
        with contextlib.ExitStack() as after:

            def substitute(found: Any) -> Any:
                nonlocal runs
                runs += 1
                if runs < self._runs:
                    return None
                before.close()
                after.enter_context(_NothingLost())
                torch.set_grad_enabled(activation.requires_grad)
                return with_first_tensor(found, activation.clone())  # the rest may write to it

            with substituting(self._layer, self._given, substitute):
                return self._forward(self._model, images)


class _WithoutValues(TorchDispatchMode):
    """Runs every operation on shapes only, and once: what it gave is looked up for the blocks that follow.

    PyTorch finds the shapes of some operations, batch norm among them, more slowly than it runs them.
    """

    def __init__(self, known: dict[Hashable, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._known = known

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tree_map_only(Tensor, lambda tensor: tensor.to("meta"), (args, kwargs or {}))
        if kwargs.get("device") is not None:
            kwargs = {**kwargs, "device": torch.device("meta")}
        if torch.Tag.pointwise in func.tags and func._schema.name.endswith("_"):
            return args[0]  # which it would write values to
        if any(argument.alias_info for argument in func._schema.arguments):  # views, and other writes
            return func(*args, **kwargs)
        key = func, _shapes_in(args), _shapes_in(tuple(sorted(kwargs.items())))
        if key not in self._known:
            self._known[key] = func(*args, **kwargs)
        return tree_map_only(Tensor, _another, self._known[key])


def _shapes_in(value: Any) -> Hashable:
    """The same for arguments that give results of the same shapes."""
    if isinstance(value, Tensor):
        return value.shape, value.stride(), value.dtype
    return tuple(map(_shapes_in, value)) if isinstance(value, list | tuple) else (type(value), value)


def _another(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


class _NothingLost(TorchDispatchMode):
    """Refuses to write what has no values into a tensor that has: the write would be lost."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func._schema.is_mutable:
            without = {tensor.is_meta for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)}
            if len(without) == 2:
                raise RuntimeError(f"{func} would write values that are not there")
        return func(*args, **kwargs)
