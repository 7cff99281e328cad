"""Records the module calls of one forward pass, and derives from them how the model computes its scores."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from xai_core.model.autograd_graph import same_value
from xai_core.model.first_convolution import check_first_convolution
from xai_core.model.layouts import Features, to_elements
from xai_core.model.sites import Site
from xai_core.outputs import Path, first_tensor, leaves_of, with_leaves


@dataclass
class _Call:
    """A module call in progress, and its input."""

    module: nn.Module
    input: Tensor | None


RESIZING = (
    *(nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d),
    *(nn.ZeroPad2d, nn.ConstantPad2d, nn.CircularPad2d, nn.ReflectionPad2d, nn.ReplicationPad2d),
    *(nn.ZeroPad3d, nn.ConstantPad3d, nn.CircularPad3d, nn.ReflectionPad3d, nn.ReplicationPad3d),
)
"""Layers whose cells are not those of their input, so that they are never a default layer."""


class ModuleCalls:
    """Records module calls and attention during one forward pass of one image.

    Each tensor that a module returns is replaced by a copy. Its node in the autograd graph shows what is computed from
    this tensor as the module's output, even if other modules return the same tensor.

    Parameters
    ----------
    model
        The model.
    image_shape
        The shape of the image.
    always_gradients
        Whether gradients are enabled at the start of every module, even inside of `no_grad` blocks.

    Attributes
    ----------
    tensors
        The copies, by site, in order of execution.
    edges
        The gradient edge of each copy when the module returned it. The model may write to the copy later.
    runs
        The number of calls of every layer.
    """

    def __init__(self, model: nn.Module, image_shape: tuple[int, ...], always_gradients: bool = False) -> None:
        self._image_shape = image_shape
        self._always_gradients = always_gradients
        self.names = {module: name for name, module in model.named_modules()}
        self.tensors: dict[Site, Tensor] = {}
        self.edges: dict[Site, GradientEdge] = {}
        self.runs: Counter[str] = Counter()
        self._linear: dict[str, tuple[Tensor, Tensor]] = {}  # input and output of each linear layer on [1,K]
        self._calls: list[_Call] = []  # in progress, outermost first
        self._attentions = 0
        self._inputs: dict[int, list[tuple[str, Tensor]]] = {}  # module inputs, by number of earlier attention layers
        self._channels_known = False

    @property
    def inputs(self) -> list[Tensor]:
        """The tokens that modules receive, in order of execution."""
        return [tensor for inputs in self._inputs.values() for _, tensor in inputs]

    @property
    def excluded(self) -> frozenset[str]:
        """The names of adaptive pooling layers and of padding layers, and of the model itself."""
        return frozenset(name for module, name in self.names.items() if isinstance(module, RESIZING) or not name)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of bytes of the largest tensor that each layer returns, in the order in which the calls ended."""
        sizes: dict[str, int] = {}
        for site in self.tensors:
            sizes[site.layer] = max(site.nbytes, sizes.pop(site.layer, 0))
        return sizes

    def enter(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Record the start of a call.

        Raises
        ------
        InputShapeError
            If the images do not have the dimensions or the channels that the first convolution requires.
        """
        if self._always_gradients:
            torch.set_grad_enabled(True)
        tensor = first_tensor([*args, *kwargs.values()])
        if isinstance(module, nn.Conv2d | nn.Conv3d) and tensor is not None and not self._channels_known:
            self._channels_known = True
            check_first_convolution(module, tensor, self._image_shape)
        if tensor is not None and tensor.ndim == 3:
            self._inputs.setdefault(self._attentions, []).append((self.names[module], tensor))
        self._calls.append(_Call(module, tensor))

    def leave(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        """Record the end of a call, and return its output with copies of all tensors."""
        call = self._calls.pop()
        name = self.names[module]
        number, self.runs[name] = self.runs[name], self.runs[name] + 1
        copies: dict[Path, Tensor] = {}
        for path, tensor in leaves_of(output):
            if not (tensor.is_floating_point() or tensor.is_quantized) or tensor.is_nested:
                continue
            site = Site(name, number, path, tuple(tensor.shape), tensor.numel() * tensor.element_size())
            copies[path] = self.tensors[site] = copied = tensor.clone()
            if copied.grad_fn is not None:
                self.edges[site] = get_gradient_edge(copied)
        if isinstance(module, nn.Linear) and call.input is not None and call.input.ndim == 2 and () in copies:
            self._linear[name] = call.input, copies[()]
        return with_leaves(output, copies)

    def in_progress(self) -> list[tuple[str, nn.Module]]:
        """Return the modules whose calls are in progress with their names, outermost first."""
        return [(self.names[call.module], call.module) for call in self._calls]

    def innermost(self) -> str:
        """Return the name of the innermost module whose call is in progress."""
        return self.names[self._calls[-1].module] if self._calls else ""

    def attend(self) -> None:
        """Count an attention layer."""
        self._attentions += 1

    def inputs_after(self, attentions: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the tokens that modules receive after this number of attention layers and before the next layer."""
        return iter(self._inputs.get(attentions, ()))

    def head(self, last: tuple[Site, Features], scores: Tensor | None) -> str | None:
        """Return the linear layer that computes the scores from the spatial mean of the last features, if any."""
        site, features = last
        if features.cells != features.count or scores is None:
            return None
        mean = to_elements(self.tensors[site], features.layout, features.count).mean(1)
        for name, (pooled, output) in self._linear.items():
            same = same_value(output, scores) and pooled.shape == mean.shape
            if same and torch.allclose(pooled, mean, rtol=1e-3, atol=1e-5):
                return name
        return None
