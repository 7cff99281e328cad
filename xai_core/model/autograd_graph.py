"""The autograd graph of a forward pass: the operations between the image and the output."""

from collections.abc import Collection, Mapping, Sequence, Set

from torch import Tensor

from xai_core.errors import NoGradientError
from xai_core.model.graph_nodes import Node

INSTEAD = "a method without gradients, such as score-cam, eigen-cam or rise"


def dominators(
    output: Node | Sequence[Node], source: Node, without: Collection[Node] = frozenset()
) -> Mapping[Node, bool]:
    """Return the nodes on any path from `source` to the outputs, last to first, and whether each is on every path.

    Paths through the nodes in `without` are ignored.
    """
    ends = [output] if isinstance(output, Node) else [*output]
    order = list(reversed(_on_path(ends, source, without)))
    position: dict[Node | None, int] = {node: i for i, node in enumerate(order)}
    on_every_path: dict[Node, bool] = {}
    furthest = max((position.get(end, 0) for end in ends), default=0)
    for i, node in enumerate(order):
        on_every_path[node] = furthest <= i  # no edge bypasses it
        furthest = max(furthest, *(position.get(before, 0) for before, _ in node.next_functions), i)
    return on_every_path


def ancestors(outputs: Sequence[Node], without: Collection[Node] = frozenset()) -> Set[Node | None]:
    """Return all nodes on paths to the outputs, including the output nodes.

    Paths through the nodes in `without` are ignored.
    """
    found: set[Node | None] = {node for node in outputs if node not in without}
    stack = [node for node in outputs if node not in without]
    while stack:
        new = {before for before, _ in stack.pop().next_functions} - found - {None, *without}
        found |= new
        stack += [node for node in new if node is not None]
    return found


def joins(nodes: Mapping[Node, bool]) -> tuple[str, ...]:
    """Return the names of the operations in `nodes` that have several inputs in `nodes`."""
    return tuple(node.name() for node in nodes if sum(before in nodes for before, _ in node.next_functions) > 1)


def same_value(tensor: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are the same tensor, or copies of one tensor in the graph."""
    return tensor is other or (tensor.grad_fn is not None and _origin(tensor.grad_fn) is _origin(other.grad_fn))


def _origin(node: Node | None) -> Node | None:
    while node is not None and node.name() == "CloneBackward0":
        node = node.next_functions[0][0]
    return node


def lacks_gradients(output: Tensor) -> bool:
    """Return whether the graph of an output contains an operation without a gradient, such as an int8 layer."""
    return any(node.name().endswith("::WarnNotImplemented") for node in _nodes(output))


def require_gradients(output: Tensor) -> None:
    """Require that every operation has a gradient. Without one, PyTorch only warns, and omits its contribution.

    Raises
    ------
    NoGradientError
        If an operation has no gradient.
    """
    if lacks_gradients(output):
        raise NoGradientError(f"the model contains operations without a gradient, such as int8 layers; use {INSTEAD}")


def _nodes(output: Tensor) -> set[Node]:
    found: set[Node] = {output.grad_fn} if output.grad_fn else set()
    stack = [*found]
    while stack:
        for node, _ in stack.pop().next_functions:
            if node is not None and node not in found:
                found.add(node)
                stack.append(node)
    return found


def _on_path(outputs: Sequence[Node], source: Node, without: Collection[Node]) -> list[Node]:
    """Return the nodes on any path from the outputs back to `source`, in the order of the forward pass."""
    reaches: dict[Node, bool] = {**dict.fromkeys(without, False), source: True}
    order = [source]
    stack = [(output, False) for output in outputs]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            reaches[node] = any(reaches[before] for before, _ in node.next_functions if before is not None)
            if reaches[node]:
                order.append(node)
        elif node not in reaches:
            reaches[node] = False
            stack.append((node, True))
            stack += [(before, False) for before, _ in node.next_functions if before is not None]
    return order
