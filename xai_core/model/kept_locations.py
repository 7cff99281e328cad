"""Finds feature maps whose shape determines their locations, because no operation reorders rows or columns.

Convolutions, pooling, normalization and pointwise operations keep the order. A reshape may change it.
"""

from collections.abc import Mapping

from torch.autograd.graph import Node

from xai_core.model.sites import Site

Bases = tuple[Site, ...] | None
"""The sites whose order determines the order of a feature map, or None if the graph does not show them."""

LARGEST_PADDING = 3
"""The padding in pixels up to which the cells of a map still cover the image. Beyond it, they cover the padding too."""
_LOST, _WITHOUT_LOCATION = -1, -2


def kept_locations(sites: Mapping[Node, Site], source: Node) -> dict[Site, Bases]:
    """Return the bases of each site that depends on the image: the sites that determine the order of its cells.

    Parameters
    ----------
    sites
        The node of each site in the autograd graph, in order of execution.
    source
        The node of the image.
    """
    numbered = [*sites.values()]
    states: dict[Node, int | None] = {source: 0}  # one bit for each base
    bases: dict[Site, Bases] = {}
    for number, (node, site) in enumerate(sites.items()):
        _trace(node, states)
        state = states[node]
        if state is None:
            continue
        if state == _LOST:
            states[node] = 1 << number
        bits = state if state >= 0 else 0
        known = tuple(base for index, base in enumerate(numbered) if bits >> index & 1)
        bases[site] = known if state >= 0 else None
    return bases


def _trace(node: Node, states: dict[Node, int | None]) -> None:
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


def _state(node: Node, states: Mapping[Node, int | None]) -> int | None:
    before = [state for other, _ in node.next_functions if other is not None and (state := states[other]) is not None]
    if not before:
        return None
    if _has_no_location(_shape(node)) or set(before) == {_WITHOUT_LOCATION}:
        return _WITHOUT_LOCATION
    if _LOST in before or not _keeps_locations(node):
        return _LOST
    bits = 0
    for state in before:
        bits |= max(state, 0)
    return bits


def _keeps_locations(node: Node) -> bool:
    name = node.name()
    if name in _KEEPING:
        return True
    if name == "ConstantPadNdBackward0":
        return all(0 <= _dim(pad, 0) <= LARGEST_PADDING for pad in node._saved_pad)  # type: ignore[attr-defined]
    if name in _RESHAPING:
        shapes = [_shape(other, index) for other, index in node.next_functions if other is not None]
        maps = [shape for shape in [*shapes, _shape(node)] if not _has_no_location(shape)]
        return all(len(shape) >= 4 and shape[-2:] == maps[-1][-2:] for shape in maps) and _in_place(node)
    return False


def _in_place(node: Node) -> bool:
    """Whether an operation that may reorder dimensions leaves the last two where they are."""
    dims = len(_shape(node))
    if node.name() == "TransposeBackward0":
        return all(_dim(dim, dims) < dims - 2 for dim in (node._saved_dim0, node._saved_dim1))  # type: ignore[attr-defined]
    if node.name() == "PermuteBackward0":
        order = [_dim(dim, dims) for dim in node._saved_dims]  # type: ignore[attr-defined]
        return order[-2:] == [dims - 2, dims - 1]
    return True


def _dim(saved: int, dims: int) -> int:
    """Return the index of a dimension that autograd saved as an unsigned integer."""
    return saved if saved < 2**63 else saved - 2**64 + dims


def _shape(node: Node, output: int = 0) -> tuple[int, ...]:
    """Return the shape of an output of an operation."""
    return tuple(node._input_metadata[output].shape)


def _has_no_location(shape: tuple[int, ...]) -> bool:
    """Whether a tensor is one vector for the whole image."""
    return len(shape) < 3 or (len(shape) >= 4 and shape[-2:] == (1, 1))


def _nodes(*operations: str) -> frozenset[str]:
    return frozenset(f"{operation}Backward{number}" for operation in operations for number in range(3))


_KEEPING = _nodes(
    *("Convolution", "MkldnnConvolution", "MaxPool2DWithIndices", "AvgPool2D", "AdaptiveAvgPool2D", "Mean", "Amax"),
    *("NativeBatchNorm", "CudnnBatchNorm", "NativeGroupNorm", "NativeDropout", "Clone", "ToCopy", "Alias"),
    *("Relu", "LeakyRelu", "Prelu", "PreluKernel", "Elu", "Gelu", "Silu", "Mish", "Hardswish", "Hardsigmoid"),
    *("Hardtanh", "Sigmoid", "Tanh", "Softplus", "Clamp", "ClampMin", "ClampMax", "Abs", "Exp", "Log", "Sqrt"),
    *("Rsqrt", "Pow", "Add", "Sub", "Rsub", "Mul", "Div", "Neg", "Reciprocal", "Maximum", "Minimum"),
    *("ReflectionPad2D", "ReplicationPad2D"),
    *("UpsampleBilinear2D", "UpsampleNearest2D", "UpsampleBicubic2D"),
)
_RESHAPING = _nodes(
    *("View", "UnsafeView", "ReshapeAlias", "Transpose", "Permute", "Slice", "Split", "SplitWithSizes", "Expand"),
    *("Cat", "Sum"),
)
