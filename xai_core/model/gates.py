"""Finds the gates of any model while it runs: a feature map times bounded numbers that were made of it.

Squeeze-and-excitation, CBAM, BAM and the like are written in many ways, but all of them end in a multiplication
F * g of a feature map by what a squashing function gave, [B,C,1,1] for channels, [B,1,h,w] for places, [B,C,h,w] for
both. A torch function mode sees it, whichever library wrote the model. The probe finds out which multiplications are
gates; the pass then keeps the operands of those that were asked for.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from xai_core.model.layouts import Size, features_of
from xai_core.outputs import tensors_of


@dataclass(frozen=True)
class Gate:
    """Where in a model's forward a feature map is gated.

    Attributes
    ----------
    layer
        The name of the module in whose forward the multiplication is.
    number
        Which multiplication of two maps it is, in order of execution.
    operand
        Which of its two operands, 0 or 1, is the features.
    features
        The (C, h, w) of the features, more than one place of them.
    values
        The same of the gate, with 1 where it is the same for all channels, rows or columns.
    """

    layer: str
    number: int
    operand: int
    features: tuple[int, ...]
    values: tuple[int, ...]

    @property
    def over_channels(self) -> bool:
        """Whether it tells channels apart."""
        return self.values[0] > 1

    @property
    def over_places(self) -> bool:
        """Whether it tells places apart."""
        return max(self.values[1:]) > 1


class Gated(NamedTuple):
    """What a gate did to a batch: `features * values`."""

    features: Float[Tensor, "B C h w"]
    values: Float[Tensor, "B gC gh gw"]


class GateReader(TorchFunctionMode):
    """While entered, keeps copies of the operands of the gates that are wanted, since models may write over them."""

    def __init__(self, wanted: Collection[Gate]) -> None:
        super().__init__()
        self._wanted = {gate.number: gate for gate in wanted}
        self._number = 0
        self.found: dict[Gate, Gated] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the function as it is, after a look at what it multiplies."""
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
    """While entered, in a forward of one image of `size` that keeps a graph, lists its gates; `here` names a module."""

    def __init__(self, size: Size, here: Callable[[], str]) -> None:
        super().__init__()
        self._size, self._here = size, here
        self._number = 0
        self._squashed: dict[int, Tensor] = {}
        self._origins: dict[int, tuple[Tensor, list[GradientEdge]]] = {}
        self.gates: list[Gate] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the function as it is, after a look at what it multiplies, and see whether it squashes."""
        kwargs = kwargs or {}
        operands = _multiplied(func, args, kwargs)
        origins = self._gated(operands) if operands else []
        given = [*tensors_of(args[:1] if func in _LIKE_ANOTHER else (*args, *kwargs.values()))]
        squashes = _squashes(func, args, kwargs) or (given and all(id(tensor) in self._squashed for tensor in given))
        result = func(*args, **kwargs)
        for tensor in tensors_of(result):
            self._squashed.pop(id(tensor), None)
            if squashes:
                self._squashed[id(tensor)] = tensor
        if origins:
            self._origins[id(result)] = result, origins
        return result

    def _gated(self, operands: Sequence[Tensor]) -> list[GradientEdge]:
        """Note the multiplication if it is a gate, and give what its features were made of, before every gate."""
        number, self._number = self._number, self._number + 1
        for operand in (0, 1):
            features, gate = operands[operand], operands[1 - operand]
            if id(gate) not in self._squashed or not features.requires_grad or not gate.requires_grad:
                continue
            values = _narrow(gate)
            sides = [*zip(values.shape, features.shape, strict=True)]
            read = features_of(features, self._size, "")
            if read is None or read.layout != "NCHW" or read.places < 2:
                continue
            if values.numel() < 2 or any(side not in (1, whole) for side, whole in sides):
                continue
            origins = [get_gradient_edge(features), *self._origins.get(id(features), (None, []))[1]]
            if any(_made_of(values, origin, features.shape) for origin in origins):
                shapes = tuple(features.shape[1:]), tuple(values.shape[1:])
                self.gates.append(Gate(self._here(), number, operand, *shapes))
                return origins
        return []


def _made_of(values: Tensor, features: GradientEdge, shape: torch.Size) -> bool:
    """Whether a gate was made of features; not each number of it of one number, as in x * sigmoid(x)."""
    given = torch.ones_like(values)
    own = values.shape == shape
    if own:  # every other number, as on a chessboard
        ones = torch.ones(shape, dtype=torch.int, device=values.device)
        given = ((ones.cumsum(1) + ones.cumsum(2) + ones.cumsum(3)) % 2).to(values.dtype)
    try:
        (gradient,) = torch.autograd.grad(values, features, given, retain_graph=True, allow_unused=True)
    except RuntimeError:  # the model wrote over what the gradient needs
        return False
    return gradient is not None and (not own or bool((gradient * (1 - given)).any()))


def _multiplied(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Tensor] | None:
    """The two maps that a function multiplies, if it does."""
    if func not in _MULTIPLICATIONS:
        return None
    maps = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor) and one.ndim == 4]
    return maps if len(maps) == 2 else None


def _squashes(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    """Whether a function gives bounded numbers, whatever it is given."""
    if func in _CLAMPS:
        bounds = [*args[1:], *kwargs.values()]
        return len(bounds) == 2 and None not in bounds
    return func in _SQUASHING


def _narrow(gate: Tensor) -> Tensor:
    """A gate without the dimensions along which it was expanded."""
    for dim in (1, 2, 3):
        if gate.stride(dim) == 0:
            gate = gate.narrow(dim, 0, 1)
    return gate


def _named(*names: str) -> frozenset[Any]:
    """Functions of torch by name, wherever they live."""
    places = (torch, Tensor, F, torch.special)
    return frozenset(getattr(place, name) for place in places for name in names if hasattr(place, name))


_MULTIPLICATIONS = _named("mul", "mul_", "multiply", "multiply_", "__mul__", "__rmul__", "__imul__")
_SQUASHING = _named(
    *("sigmoid", "sigmoid_", "expit", "hardsigmoid", "softmax", "tanh", "tanh_"),
    *("relu6", "hardtanh", "hardtanh_"),
)
_CLAMPS = _named("clamp", "clamp_", "clip", "clip_")
_LIKE_ANOTHER = _named("expand_as", "view_as", "reshape_as", "type_as", "to")
