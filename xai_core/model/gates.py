"""Finds the gates of any model while it runs: products of a feature map and bounded values computed from it.

Implementations of squeeze-and-excitation, CBAM and BAM differ, but all of them end in a product F * g. The factor g is
the output of a squashing function, [B,C,1,1] for channels, [B,1,h,w] for locations, or [B,C,h,w] for both. A torch
function mode observes the product, whichever library provides the model. The probe finds the products that are gates.
During the shared pass, the operands of the requested gates are recorded.
"""

import itertools
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from xai_core.model.graph_nodes import Node
from xai_core.model.layouts import Size, fits, possible_layouts
from xai_core.outputs import tensors_of


@dataclass(frozen=True)
class Gate:
    """A product in the forward pass that gates a feature map.

    Attributes
    ----------
    layer
        The name of the module whose forward method contains the product.
    number
        Index of the multiplication among all multiplications of two feature maps, in order of execution.
    operand
        The operand, 0 or 1, that is the feature map.
    features
        The (C, h, w) of the feature map, with more than one cell.
    values
        The shape of the gate, with 1 where its values are shared by all channels, rows or columns.
    """

    layer: str
    number: int
    operand: int
    features: tuple[int, ...]
    values: tuple[int, ...]

    @property
    def over_channels(self) -> bool:
        """Return whether the values differ between channels."""
        return self.values[0] > 1

    @property
    def over_locations(self) -> bool:
        """Return whether the values differ between locations."""
        return max(self.values[1:]) > 1


class Gated(NamedTuple):
    """The operands of a gate for a batch: `features * values`."""

    features: Float[Tensor, "B C h w"]
    values: Float[Tensor, "B gC gh gw"]


class GateReader(TorchFunctionMode):
    """Context that copies the operands of the requested gates, because models may overwrite them."""

    def __init__(self, wanted: Collection[Gate]) -> None:
        super().__init__()
        self._wanted = {gate.number: gate for gate in wanted}
        self._number = 0
        self.found: dict[Gate, Gated] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the function unchanged, and record its operands if it is a requested gate."""
        kwargs = kwargs or {}
        operands = _multiplied(func, args, kwargs)
        if operands is not None:
            gate = self._wanted.get(self._number)
            self._number += 1
            if gate is not None:
                features, values = operands[gate.operand].detach(), _narrow(operands[1 - gate.operand].detach())
                if (features.shape[1:], values.shape[1:]) == (gate.features, gate.values):
                    self.found[gate] = Gated(features.clone(), values.clone())
        return func(*args, **kwargs)


class GateFinder(TorchFunctionMode):
    """Context that lists the gates of a forward pass with gradients, for one image of `size`.

    `innermost` returns the name of the module in progress.
    """

    def __init__(self, size: Size, innermost: Callable[[], str]) -> None:
        super().__init__()
        self._size, self._innermost = size, innermost
        self._number = 0
        self._squashed: dict[int, Tensor] = {}
        self._origins: dict[int, tuple[Tensor, list[GradientEdge]]] = {}
        self.gates: list[Gate] = []
        self.nodes: list[Node] = []
        """The node of each gate's product in the autograd graph."""

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the function unchanged, check whether it is a gate, and whether its result is bounded."""
        kwargs = kwargs or {}
        operands = _multiplied(func, args, kwargs)
        origins = self._gated(operands) if operands else []
        squashes = _squashes(func, args, kwargs) or self._are_squashed(
            args[:1] if func in _LIKE_ANOTHER else (args, kwargs)
        )
        result = func(*args, **kwargs)
        if len(self.gates) > len(self.nodes):
            self.nodes.append(result.grad_fn)
        if squashes or self._squashed:
            for tensor in tensors_of(result):
                self._squashed.pop(id(tensor), None)
                if squashes:
                    self._squashed[id(tensor)] = tensor
        if func is Tensor.clone and id(args[0]) in self._origins:
            origins = [get_gradient_edge(args[0]), *self._origins[id(args[0])][1]]
        if origins:
            self._origins[id(result)] = result, origins
        return result

    def _are_squashed(self, inputs: object) -> bool:
        """Return whether there are tensors in the inputs, and all of them are bounded."""
        tensors = tensors_of(inputs) if self._squashed else iter(())
        first = next(tensors, None)
        return first is not None and all(id(tensor) in self._squashed for tensor in itertools.chain([first], tensors))

    def _gated(self, operands: Sequence[Tensor]) -> list[GradientEdge]:
        """Record the product if it is a gate.

        Return the graph edges of its features, before this gate and before each earlier gate.
        """
        number, self._number = self._number, self._number + 1
        for operand in (0, 1):
            features, gate = operands[operand], operands[1 - operand]
            if id(gate) not in self._squashed or not features.requires_grad or not gate.requires_grad:
                continue
            values = _narrow(gate)
            sides = [*zip(values.shape, features.shape, strict=True)]
            layout, grid = next(iter(possible_layouts(tuple(features.shape), self._size).items()), (None, None))
            if layout != "NCHW" or not grid or grid == (1, 1) or not fits(grid, self._size):
                continue
            if values.numel() < 2 or any(side not in (1, whole) for side, whole in sides):
                continue
            origins = [get_gradient_edge(features), *self._origins.get(id(features), (None, []))[1]]
            if any(_depends_on(values, origin, features.shape) for origin in origins):
                shapes = tuple(features.shape[1:]), tuple(values.shape[1:])
                self.gates.append(Gate(self._innermost(), number, operand, *shapes))
                return origins
        return []


def _depends_on(values: Tensor, features: GradientEdge, shape: torch.Size) -> bool:
    """Return whether a gate depends on several features. In x * sigmoid(x), each value depends on one feature only."""
    weights = torch.ones_like(values)
    same_shape = values.shape == shape
    if same_shape:  # every other value, as on a chessboard
        ones = torch.ones(shape, dtype=torch.int, device=values.device)
        weights = ((ones.cumsum(1) + ones.cumsum(2) + ones.cumsum(3)) % 2).to(values.dtype)
    try:
        (gradient,) = torch.autograd.grad(values, features, weights, retain_graph=True, allow_unused=True)
    except RuntimeError:  # the model overwrote a tensor that the gradient needs
        return False
    return gradient is not None and (not same_shape or bool((gradient * (1 - weights)).any()))


def _multiplied(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Tensor] | None:
    """Return the two feature maps that a function multiplies, or None."""
    if func not in _MULTIPLICATIONS:
        return None
    maps = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor) and one.ndim == 4]
    return maps if len(maps) == 2 else None


def _squashes(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Return whether a function returns bounded values for any input."""
    if func in _CLAMPS:
        bounds = [*args[1:], *kwargs.values()]
        return len(bounds) == 2 and None not in bounds
    return func in _SQUASHING


def _narrow(gate: Tensor) -> Tensor:
    """Return a gate without expanded dimensions."""
    for dim in (1, 2, 3):
        if gate.stride(dim) == 0:
            gate = gate.narrow(dim, 0, 1)
    return gate


def _named(*names: str) -> frozenset[Any]:
    """Return functions of torch by name, from all namespaces."""
    namespaces = (torch, Tensor, F, torch.special)
    return frozenset(getattr(namespace, name) for namespace in namespaces for name in names if hasattr(namespace, name))


_MULTIPLICATIONS = _named("mul", "mul_", "multiply", "multiply_", "__mul__", "__rmul__", "__imul__")
_SQUASHING = _named(
    *("sigmoid", "sigmoid_", "expit", "hardsigmoid", "softmax", "tanh", "tanh_"),
    *("relu6", "hardtanh", "hardtanh_"),
)
_CLAMPS = _named("clamp", "clamp_", "clip", "clip_")
_LIKE_ANOTHER = _named("expand_as", "view_as", "reshape_as", "type_as", "to")
