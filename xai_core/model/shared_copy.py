"""A structural copy of a model that shares its parameters and buffers, to differentiate and to register hooks on."""

import copy
import itertools
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from xai_core.error_text import message_of
from xai_core.errors import LayerError, UnsuitableError
from xai_core.model.autograd_graph import require_gradients
from xai_core.model.execution import Forward, after_forward, explaining
from xai_core.model.runtimes import takes_one_image
from xai_core.model.sites import Site
from xai_core.outputs import leaf_at, with_leaves
from xai_core.precision import at_least_float32, wide
from xai_core.targets.target import BoundTarget


class SharedModel(nn.Module):
    """The target's score as a module. It builds a graph if gradients are enabled.

    Hooks registered on the copy do not affect the original model. The copy keeps the original's hooks, is in evaluation
    mode, and runs eagerly.

    Parameters
    ----------
    model
        The model, without wrappers.
    forward
        Calls the model.
    target
        The target whose score is computed.
    site
        Returns the site of a layer name.
    runs
        The number of times that each layer runs in one forward pass.
    block
        The number of images per call that fit the memory budget.
    precise
        Whether the copy contains float64 copies of the parameters and buffers instead.

    Raises
    ------
    UnsuitableError
        If the modules cannot be copied.
    """

    def __init__(
        self,
        model: nn.Module,
        forward: Forward,
        target: BoundTarget,
        site: Callable[[str], Site],
        runs: Mapping[str, int],
        block: int,
        precise: bool = False,
    ) -> None:
        super().__init__()
        self.model = (copy_modules(model, widened) if precise else copy_modules(model)).eval()
        self.block = block
        self._one_by_one = takes_one_image(model)
        self._forward, self._target, self._site, self._runs = forward, target, site, runs
        self._taps: dict[str, nn.Module] = {}

    def forward(self, images: Float[Tensor, "N C H W"], of: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """Return the scores of N images, float32 or float64.

        For each image, `of` contains the index of its original in the batch.
        """
        if len(images) > 1 and self._one_by_one:
            return torch.cat([self(image, index) for image, index in zip(images.split(1), of.split(1), strict=True)])
        with explaining(self.model, torch.is_grad_enabled()):
            output = self._forward(self.model, images, of)
        scores = at_least_float32(self._target.model_score(output, of, "gradient"))
        require_gradients(scores)
        return scores

    def layer(self, name: str) -> nn.Module:
        """Return an identity module through which the output of the layer `name` passes.

        Hooks on this module always receive one tensor, and the model may write to the tensor that they return.
        """
        if name in self._taps:
            return self._taps[name]
        tap, site, calls = nn.Identity(), self._site(name), itertools.count()

        def through(module: nn.Module, args: Any, output: Any) -> Any:
            if next(calls) % self._runs[site.layer] != site.call:
                return None
            tensor = leaf_at(output, site.path)
            if tensor is None:
                raise LayerError(
                    f"layer {name!r} has a different output for this batch than for a single image: the "
                    f"{type(output).__name__} does not contain the same tensors. Choose another layer"
                )
            return with_leaves(output, {site.path: tap(tensor).clone()})

        after_forward(self.model.get_submodule(site.layer), through)
        self._taps[name] = tap
        return tap


def widened(tensor: Tensor) -> Tensor:
    """Return a floating-point tensor in float64, without a graph, and other tensors unchanged."""
    return wide(tensor.detach()) if tensor.is_floating_point() else tensor


def copy_modules(model: nn.Module, convert: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> nn.Module:
    """Copy a tree of modules. The copy shares the tensors, and has its own dictionaries of the same hooks.

    If `convert` is given, the copy contains the converted tensors instead.

    Raises
    ------
    UnsuitableError
        If the modules cannot be copied.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for name, value in vars(module).items():
            if "hooks" in name:
                memo[id(value)] = copy.copy(value)  # atomic, because other threads may register hooks
            else:
                tensors = (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))
                memo |= {id(tensor): convert(tensor) for tensor in tensors if id(tensor) not in memo}
    try:
        return copy.deepcopy(model, memo)
    except Exception as error:  # a module's own method may raise any error
        reason = textwrap.shorten(message_of(error), 100)
        raise UnsuitableError(
            f"this method requires a copy of the model's modules, and copying failed ({reason}); use a method "
            "that does not need a copy, such as grad-cam"
        ) from error
