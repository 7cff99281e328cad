"""The autograd graph of a forward pass: the operations between the image and the output."""

from collections.abc import Mapping

from torch.autograd.graph import Node


def dominators(output: Node, source: Node) -> Mapping[Node, bool]:
    """Return the nodes on any path from `source` to `output`, the last first, and whether each is on every path."""
    order = list(reversed(_on_path(output, source)))
    position: dict[Node | None, int] = {node: i for i, node in enumerate(order)}
    on_every_path: dict[Node, bool] = {}
    furthest = 0
    for i, node in enumerate(order):
        on_every_path[node] = furthest <= i  # no edge bypasses it
        furthest = max(furthest, *(position.get(before, 0) for before, _ in node.next_functions), i)
    return on_every_path


def joins(nodes: Mapping[Node, bool]) -> tuple[str, ...]:
    """Return the names of the operations, among `nodes`, that combine several tensors computed from the source."""
    return tuple(node.name() for node in nodes if sum(before in nodes for before, _ in node.next_functions) > 1)


def _on_path(output: Node, source: Node) -> list[Node]:
    """Return the nodes on any path from `output` back to `source`, in the order of the forward pass."""
    reaches: dict[Node, bool] = {source: True}
    order = [source]
    stack = [(output, False)]
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
