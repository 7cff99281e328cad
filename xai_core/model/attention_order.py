"""The order of attention layers on a path, from the autograd graph of one forward pass."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_

from xai_core.model.graph_nodes import Node

_ADDITIONS = ("Add", "Sub", "Stack", "Cat")
"""Prefixes of the names of operations that combine parallel layers as the heads of one layer are combined."""


@dataclass(frozen=True)
class Stage:
    """Attention layers between two operations that lie on every path.

    Attributes
    ----------
    layers
        The indices of the layers. If there are several layers, they are parallel.
    start, end
        The two operations. The first stage may have no start.
    """

    layers: tuple[int, ...]
    start: Node | None
    end: Node

    def reads_and_returns(self, tokens: int) -> bool:
        """Return whether both operations compute [B,N,C] or [N,B,C] with N `tokens`."""
        return all(node is not None and _has_tokens(node, tokens) for node in (self.start, self.end))


def _has_tokens(node: Node, tokens: int) -> bool:
    return any(len(result.shape) == 3 and tokens in result.shape[:2] for result in node._input_metadata)


@dataclass(frozen=True)
class AttentionOrder:
    """The order of attention layers on a path.

    Attributes
    ----------
    stages
        The stages, in order. It is None if the layers do not form a chain. In this case, two successive layers have no
        operation between them that every path contains, or their results are multiplied.
    before
        For each operation on the path, the layers before it, as a bit mask. It includes a layer that ends there.
    """

    stages: tuple[Stage, ...] | None
    before: Mapping[Node, int]

    @classmethod
    def of(cls, path: Mapping[Node, bool], attentions: Mapping[int, Sequence[Node]]) -> "AttentionOrder":
        """Return the order on a path: its operations from last to first, and whether each is on every path.

        `attentions` contains the nodes of each layer, by its index.
        """
        number = {node: layer for layer, nodes in attentions.items() for node in nodes}
        stages: list[Stage] = []
        before: dict[Node, int] = {}
        since: dict[Node, int] = {}  # the layers after the last operation that every path contains
        layers: list[int] = []
        start: Node | None = None
        is_chain = True
        for node in reversed([*path]):
            operands = [operand for operand, _ in node.next_functions if operand in since]
            recent = {since[operand] for operand in operands} - {0}
            is_chain &= len(recent) < 2 or node.name().startswith(_ADDITIONS)
            before[node], since[node] = _union(before[operand] for operand in operands), _union(recent)
            if node in number:
                layer = number[node]
                is_chain &= since[node] in (0, 1 << layer)
                before[node] |= 1 << layer
                since[node] |= 1 << layer
                layers += [layer] if layer not in layers else []
            if path[node]:
                stages += [Stage(tuple(sorted(layers)), start, node)] if layers else []
                layers, start, since[node] = [], node, 0
        return cls(tuple(stages) if is_chain and not layers else None, before)


def _union(masks: Iterable[int]) -> int:
    return reduce(or_, masks, 0)
