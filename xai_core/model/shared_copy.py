"""A twin of a model: modules of its own around the very same parameters, to differentiate and to place hooks on."""

import copy
import itertools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from xai_core.errors import LayerError, UnsuitableError
from xai_core.model.execution import Forward, explaining
from xai_core.outputs import first_tensor, with_first_tensor
from xai_core.targets.target import BoundTarget, wide


class SharedModel(nn.Module):
    """The target's score as a module, with a graph where gradients are switched on.

    What is placed on its modules is not on the user's model, whose parameters and buffers they hold, and whose hooks
    they keep; they are in evaluation mode, and run eagerly.

    Parameters
    ----------
    model
        Out of its wrappers.
    forward
        How it is called.
    target
        What is scored.
    runs
        How often each layer runs in one forward.
    block
        How many images should go through it at once.

    Raises
    ------
    UnsuitableError
        Where the modules cannot be copied.
    """

    def __init__(
        self, model: nn.Module, forward: Forward, target: BoundTarget, runs: Mapping[str, int], block: int
    ) -> None:
        super().__init__()
        self.model = modules_of(model).eval()
        self.block = block
        self._forward, self._target, self._runs = forward, target, runs
        self._taps: dict[str, nn.Module] = {}

    def forward(self, images: Float[Tensor, "N C H W"], of: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Score images, each for the target of the image of the batch that it is of; float32 or better."""
        with explaining(self.model, torch.is_grad_enabled()):
            output = self._forward(self.model, images)
        return wide(self._target.model_score(output, of))

    def layer(self, name: str) -> nn.Module:
        """A module that is given what a layer gives, the last time that it runs, and hands it on to the model.

        Hooks on it see one tensor, whatever the layer gives, and the model may write to what they hand on.
        """
        if name in self._taps:
            return self._taps[name]
        tap, calls = nn.Identity(), itertools.count(1)

        def through(module: nn.Module, args: Any, output: Any) -> Any:
            if next(calls) % self._runs[name]:
                return None
            tensor = first_tensor(output)
            if tensor is None:
                raise LayerError(f"layer {name!r} gives {type(output).__name__}, which holds no tensor")
            return with_first_tensor(output, tap(tensor).clone())

        self.model.get_submodule(name).register_forward_hook(through)
        self._taps[name] = tap
        return tap


def modules_of(model: nn.Module, held: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> nn.Module:
    """A copy of a tree of modules that holds the same tensors and, in dictionaries of its own, the same hooks.

    Where not the same, it holds what `held` makes of each.

    Raises
    ------
    UnsuitableError
        Where it cannot be copied.
    """
    kept: dict[int, Any] = {}
    for module in model.modules():
        for name, value in vars(module).items():
            if "hooks" in name:
                kept[id(value)] = copy.copy(value)  # at once, as other threads may be placing theirs
            else:
                tensors = (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))
                kept |= {id(tensor): held(tensor) for tensor in tensors if id(tensor) not in kept}
    try:
        return copy.deepcopy(model, kept)
    except (TypeError, RuntimeError, AttributeError) as error:
        raise UnsuitableError(
            f"this method works on a copy of the model's modules, which cannot be made ({error}); use a method that "
            "needs none, such as grad-cam"
        ) from error
