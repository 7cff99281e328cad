"""Finds feature maps whose shape determines their locations, because no operation reorders rows or columns.

Convolutions, pooling, normalization and pointwise operations keep the order. So do linear layers and layer
normalization of feature maps whose last dimension contains the channels. A reshape may change the order.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import reduce
from operator import or_

from xai_core.model.graph_nodes import Node
from xai_core.model.site_sets import members
from xai_core.model.sites import Site

LARGEST_PADDING = 3
"""The padding in pixels up to which the cells of a map still cover the image. Beyond it, they cover the padding too."""


@dataclass(frozen=True)
class Kept:
    """A feature map whose order is the order of other feature maps, or of the image.

    Attributes
    ----------
    channels_last
        Whether the channels are the last dimension.
    bases
        The sites that determine the order. If there are none, it is the order of the image.
    """

    channels_last: bool
    bases: tuple[Site, ...]


@dataclass(frozen=True)
class _Map:
    """A map in the order of its bases, a bit mask of sites. A map with channels last may be flattened to [h * w, C]."""

    dims: int
    """The number of dimensions of the map: 4, or 5 for volumes."""
    bases: int = 0
    is_folded: bool = False
    """Whether the first dimension contains frames."""
    channels_last: bool = False
    grid: tuple[int, ...] = ()
    """The (h, w) or (d, h, w) of a map with channels last."""


class _Other(Enum):
    LOST = 0
    """The order is not known."""
    VECTOR = 1
    """One vector for the whole image."""


_State = _Map | _Other


def kept_locations(sites: Mapping[Node, Site], source: Node) -> dict[Site, Kept | None]:
    """Return, for each site that depends on the image, how its order is known, or None if the graph does not show it.

    Parameters
    ----------
    sites
        The node of each site in the autograd graph, in order of execution.
    source
        The node of the image.
    """
    numbered = [*sites.values()]
    dims = len(_shape(source))
    states: dict[Node, _State | None] = {source: _Map(dims)}
    kept: dict[Site, Kept | None] = {}
    for number, (node, site) in enumerate(sites.items()):
        _trace(node, states)
        state = states[node]
        if state is None:
            continue
        if state is _Other.LOST:
            shape = _shape(node)
            states[node] = _Map(5 if len(shape) == 5 else 4, 1 << number, is_folded=dims == 5 and len(shape) == 4)
        kept[site] = _kept(state, numbered)
    return kept


def _kept(state: _State, sites: Sequence[Site]) -> Kept | None:
    if not isinstance(state, _Map):
        return None
    return Kept(state.channels_last, tuple(members(state.bases, sites)))


def _trace(node: Node, states: dict[Node, _State | None]) -> None:
    """Add the states of a node and its ancestors to `states`.

    The state is None for a node that does not use the image.
    """
    stack = [(node, False)]
    while stack:
        current, expanded = stack.pop()
        if expanded:
            states[current] = _state(current, states)
        elif current not in states:
            states[current] = None
            stack.append((current, True))
            stack += [(other, False) for other, _ in current.next_functions if other is not None]


def _state(node: Node, states: Mapping[Node, _State | None]) -> _State | None:
    before = [state for other, _ in node.next_functions if other is not None and (state := states[other]) is not None]
    if not before:
        return None
    maps = [state for state in before if isinstance(state, _Map)]
    if maps and _Other.LOST not in before and len({replace(state, bases=0) for state in maps}) == 1:
        united = replace(maps[0], bases=reduce(or_, (state.bases for state in maps)))
        return _channels_last(node, united, states) if united.channels_last else _channels_first(node, united)
    return _Other.VECTOR if _is_vector(_shape(node)) or {*before} == {_Other.VECTOR} else _Other.LOST


def _channels_first(node: Node, state: _Map) -> _State:
    """Return the state after an operation on maps [1,C,h,w] or [1,C,d,h,w]."""
    shape, name, order = _shape(node), node.name(), _order(node)
    if _is_vector(shape):
        return _Other.VECTOR
    if name in _POINTWISE or name in _SPATIAL:
        return state
    if name == "ConstantPadNdBackward0":
        keeps = all(0 <= _dim(pad, 0) <= LARGEST_PADDING for pad in node._saved_pad)  # type: ignore[attr-defined]
        return state if keeps else _Other.LOST
    spatial = state.dims - 2
    if order == [0, *range(2, state.dims), 1]:
        return replace(state, channels_last=True, grid=shape[1:-1])
    if name in _RESHAPING:
        shapes = [_shape(other, index) for other, index in node.next_functions if other is not None]
        maps = [of for of in [*shapes, shape] if not _is_vector(of)]
        keeps = all(len(of) >= state.dims and of[-spatial:] == maps[-1][-spatial:] for of in maps)
        in_place = order is None or order[-spatial:] == [*range(len(order) - spatial, len(order))]
        return state if keeps and in_place and not state.is_folded else _Other.LOST
    return _Other.LOST


def _channels_last(node: Node, state: _Map, states: Mapping[Node, _State | None]) -> _State:
    """Return the state after an operation on maps [1,h,w,C] or [1,d,h,w,C], or on their rows."""
    shape, name, order = _shape(node), node.name(), _order(node)
    if math.prod(shape[:-1]) == 1:
        return _Other.VECTOR
    if order == [0, state.dims - 1, *range(1, state.dims - 1)]:
        return replace(state, channels_last=False, grid=())
    operands = [number for number, (other, _) in enumerate(node.next_functions) if other and states[other]]
    functions = [node.next_functions[number] for number in operands]
    maps = [_shape(other, index) for other, index in functions if other and isinstance(states[other], _Map)]
    is_same_grid = all(of[:-1] in ((1, *state.grid), (math.prod(state.grid),)) for of in [*maps, shape])
    keeps = (
        name in _POINTWISE
        or name in _OVER_CHANNELS
        or (name in _VIEWS and maps[0][-1] == shape[-1])
        or (name == "NativeLayerNormBackward0" and len(node._saved_normalized_shape) == 1)  # type: ignore[attr-defined]
        or operands == _LINEAR.get(name)
    )
    return state if order is None and is_same_grid and keeps else _Other.LOST


def _order(node: Node) -> list[int] | None:
    """Return the order in which an operation permutes the dimensions, or None if it does not permute them."""
    dims = len(_shape(node))
    if node.name() == "PermuteBackward0":
        return [_dim(dim, dims) for dim in node._saved_dims]  # type: ignore[attr-defined]
    if node.name() == "TransposeBackward0":
        first, second = (_dim(dim, dims) for dim in (node._saved_dim0, node._saved_dim1))  # type: ignore[attr-defined]
        order = [*range(dims)]
        order[first], order[second] = second, first
        return order
    return None


def _dim(saved: int, dims: int) -> int:
    """Return the index of a dimension that autograd saved as an unsigned integer."""
    return saved if saved < 2**63 else saved - 2**64 + dims


def _shape(node: Node, output: int = 0) -> tuple[int, ...]:
    """Return the shape of an output of an operation."""
    return tuple(node._input_metadata[output].shape)


def _is_vector(shape: tuple[int, ...]) -> bool:
    """Return whether a tensor is one vector for the whole image."""
    return len(shape) < 2 or shape[:-1] == (1,) or (len(shape) >= 4 and shape[-2:] == (1, 1))


def _nodes(*operations: str) -> frozenset[str]:
    return frozenset(f"{operation}Backward{number}" for operation in operations for number in range(3))


_POINTWISE = _nodes(
    *("Clone", "ToCopy", "Alias", "NativeDropout"),
    *("Relu", "LeakyRelu", "Prelu", "PreluKernel", "Elu", "Gelu", "Silu", "Mish", "Hardswish", "Hardsigmoid"),
    *("Hardtanh", "Sigmoid", "Tanh", "Softplus", "Clamp", "ClampMin", "ClampMax", "Abs", "Exp", "Log", "Sqrt"),
    *("Rsqrt", "Pow", "Add", "Addcmul", "Sub", "Rsub", "Mul", "Div", "Neg", "Reciprocal", "Maximum", "Minimum"),
)
_SPATIAL = _nodes(
    *("Convolution", "MkldnnConvolution", "MaxPool2DWithIndices", "AvgPool2D", "AdaptiveAvgPool2D", "Mean", "Amax"),
    *("NativeBatchNorm", "CudnnBatchNorm", "NativeGroupNorm", "ReflectionPad2D", "ReplicationPad2D"),
    *("UpsampleBilinear2D", "UpsampleNearest2D", "UpsampleBicubic2D"),
    *("MaxPool3DWithIndices", "AvgPool3D", "AdaptiveAvgPool3D", "ReflectionPad3D", "ReplicationPad3D"),
    *("UpsampleTrilinear3D", "UpsampleNearest3D"),
)
"""Operations that keep the order of maps [1,C,h,w] or [1,C,d,h,w]."""
_VIEWS = _nodes("View", "UnsafeView", "ReshapeAlias")
_OVER_CHANNELS = _nodes("Mean", "Amax", "Sum", "Slice", "Split", "SplitWithSizes", "Cat")
"""Operations that keep the order of maps [1,h,w,C] if the result has the same grid."""
_RESHAPING = _VIEWS | _OVER_CHANNELS - _nodes("Mean", "Amax") | _nodes("Transpose", "Permute", "Expand")
_LINEAR = {"AddmmBackward0": [1], "MmBackward0": [0], "LinearBackward0": [0]}
"""Linear layers, each with the indices of the operands that depend on the image."""
