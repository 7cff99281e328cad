"""Traces every attention of one forward pass through the autograd graph."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge

from xai_core.model.attention import AttentionLayer
from xai_core.model.attention_reader import AttentionReader
from xai_core.model.attention_weights import TokensAt
from xai_core.model.graph_nodes import Node
from xai_core.model.head_layout import HeadLayout
from xai_core.outputs import first_tensor, with_first_tensor


@dataclass(eq=False)
class TracedAttention:
    """One attention of a forward pass, whose tensors are connected in the graph.

    Attributes
    ----------
    layer
        The attention.
    module
        The name of the module that computes it.
    around
        The names of all modules around it, outermost first.
    differentiated
        The tensor that gradients of the attention are taken with respect to.
    values
        The values of each product with its weights.
    mixed
        The product of weights and values, and a copy with which the model continues, for each product.
    """

    layer: AttentionLayer
    module: str
    around: tuple[str, ...]
    differentiated: Tensor | None = None
    values: list[TokensAt] = field(default_factory=list)
    mixed: list[tuple[Tensor, TokensAt]] = field(default_factory=list)

    @property
    def nodes(self) -> list[Node]:
        """The nodes of the outputs in the graph."""
        return [copy.value.grad_fn for _, copy in self.mixed if copy.value.grad_fn is not None]


class AttentionTrace(AttentionReader):
    """Context that traces the attention of one image.

    Parameters
    ----------
    around
        Returns the modules in progress with their names, outermost first.
    on_attention
        Called at each attention layer.
    """

    def __init__(self, around: Callable[[], Sequence[tuple[str, nn.Module]]], on_attention: Callable[[], None]) -> None:
        super().__init__(1, self._begin, self._keep)
        self._around, self._on_attention = around, on_attention
        self.attentions: list[TracedAttention] = []

    def on_mixed(self, layer: AttentionLayer, values: TokensAt, output: TokensAt) -> Any:
        """Return the output with a copy of its tensor, whose node stands for the attention."""
        mixed = first_tensor(output.value)
        assert mixed is not None
        traced = next(traced for traced in reversed(self.attentions) if traced.layer is layer)
        copy = mixed.clone() if mixed.requires_grad else mixed.detach().requires_grad_(torch.is_grad_enabled()).clone()
        traced.values.append(values)
        traced.mixed.append((mixed, TokensAt(copy, output.dim)))
        return with_first_tensor(output.value, copy)

    def _begin(self, layer: AttentionLayer) -> None:
        self._on_attention()
        around = self._around()
        containers = [name for name, module in around if any(True for _ in module.children())]
        module = containers[-1] if containers else ""
        self.attentions.append(TracedAttention(layer, module, tuple(name for name, _ in around)))

    def _keep(self, output: Any) -> Any:
        self.attentions[-1].differentiated = first_tensor(output)
        return output


Users = Mapping[Node, Sequence[tuple[Node, int]]]
"""For each node, the nodes that use its result, each with the index of the operand."""


def users_of(nodes: Sequence[Node]) -> Users:
    """Return, for each node, the nodes in `nodes` that use its result."""
    users: dict[Node, list[tuple[Node, int]]] = {}
    for node in nodes:
        for index, (before, _) in enumerate(node.next_functions):
            if before is not None:
                users.setdefault(before, []).append((node, index))
    return users


def head_layout(traced: TracedAttention, users: Users) -> HeadLayout | None:
    """Return the order of windows and heads, as the projection after the attention reads them, or None.

    The projection reads the heads of one token together. The gradient of its first input token shows where they are.
    """
    if traced.layer.leading is None or traced.differentiated is None or not traced.nodes:
        return None
    token = _first_projected_token(traced.nodes[0], users)
    if token is None:
        return None
    (gradient,) = torch.autograd.grad(
        [token[0]], traced.differentiated, [token[1]], retain_graph=True, allow_unused=True
    )
    if gradient is None:
        return None
    heads: Bool[Tensor, " leading"] = (traced.layer.as_matrix(gradient) != 0).flatten(0, -3).flatten(1).any(1)
    return HeadLayout.of_token(heads)


_PROJECTIONS = {"Addmm": 1, "Mm": 0, "Linear": 0, "Convolution": 0}
"""Prefixes of the names of projections in the graph, each with the index of the operand that contains tokens."""


def _first_projected_token(node: Node, users: Users) -> tuple[GradientEdge, Tensor] | None:
    """Return the input of the first projection after a node, and a cotangent that selects its first token."""
    queue, seen = deque([node]), {node}
    while queue:
        for user, index in users.get(queue.popleft(), ()):
            kind = user.name().partition("Backward")[0]
            before, number = user.next_functions[index]
            if before is not None and _PROJECTIONS.get(kind) == index:
                metadata = before._input_metadata[number]
                cotangent = torch.zeros(tuple(metadata.shape), dtype=metadata.dtype, device=metadata.device)
                token = cotangent[0].flatten(1)[:, 0] if kind == "Convolution" else cotangent.flatten(0, -2)[0]
                token.copy_(torch.linspace(1, 2, len(token)))
                return GradientEdge(before, number), cotangent  # type: ignore[arg-type]
            if user not in seen and not kind.endswith("::WarnNotImplemented"):  # an operation without a gradient
                seen.add(user)
                queue.append(user)
    return None
