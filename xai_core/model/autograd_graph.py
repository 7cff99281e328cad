"""The autograd graph of a forward: what lies on the way from the image to the output, and what all of it passes."""

from collections.abc import Mapping

from torch.autograd.graph import Node


def ways(output: Node, source: Node) -> Mapping[Node, bool]:
    """Every node on a way from `source` to `output`, the last first, and whether all ways lead through it."""
    order = list(reversed(_reaching(output, source)))
    place: dict[Node | None, int] = {node: i for i, node in enumerate(order)}
    passed: dict[Node, bool] = {}
    furthest = 0
    for i, node in enumerate(order):
        passed[node] = furthest <= i  # no edge leaps over it
        furthest = max(furthest, *(place.get(before, 0) for before, _ in node.next_functions), i)
    return passed


def joins(passed: Mapping[Node, bool]) -> tuple[str, ...]:
    """The operations, of those on the way, that put together several tensors made from the source."""
    return tuple(node.name() for node in passed if sum(before in passed for before, _ in node.next_functions) > 1)


def _reaching(output: Node, source: Node) -> list[Node]:
    """The nodes that lead from `output` back to `source`, each after all those before it in the forward."""
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
