"""Reads the path of attention layers to the last tokens, from the graph of a traced forward pass."""

from collections.abc import Mapping, Set

import torch

from xai_core.model.attention_call import AttentionCall
from xai_core.model.attention_order import AttentionOrder
from xai_core.model.attention_path import AttentionPath
from xai_core.model.attention_problems import (
    no_chain,
    not_before,
    not_global,
    other_tokens,
    several_sequences,
    unequal_tokens,
    unseen_mixing,
)
from xai_core.model.attention_weights import TokensAt
from xai_core.model.autograd_graph import ancestors, dominators
from xai_core.model.graph_nodes import Node
from xai_core.model.layouts import Features
from xai_core.model.observed_pass import ObservedPass
from xai_core.model.site_graph import SiteGraph
from xai_core.model.sites import Site
from xai_core.model.token_mixing import mixed_sources

SMALL = 8
"""The number of cells up to which patches are tested one by one."""


def tokens_at(graph: SiteGraph, last: tuple[Site, Features]) -> TokensAt:
    """Return the last tokens as a tensor of the graph, with its dimension of tokens."""
    site, features = last
    return TokensAt(graph.tensor(site), 1 - features.batch_dim)


class AttentionPathReader:
    """Reads the path from some attention layers to the last tokens.

    Parameters
    ----------
    observed
        The forward pass.
    calls
        The attention layers by index.
    last
        The last tokens.
    readout
        The weight of each of these tokens in the scores.
    """

    def __init__(
        self,
        observed: ObservedPass,
        calls: Mapping[int, AttentionCall],
        last: tuple[Site, Features],
        readout: tuple[float, ...],
    ) -> None:
        self._graph, self._calls, self._readout = observed.graph, calls, readout
        self._site, self._features = last
        self._tokens = tokens_at(observed.graph, last)
        self._traced = {number: observed.attentions[number] for number in calls}
        self._blocked = [mixed for traced in observed.attentions for mixed, _ in traced.mixed]
        self._end: Node = self._tokens.value.grad_fn
        self._pooling = self._found_pooling()
        self._order = AttentionOrder.of(
            dominators(self._end, [*self._graph.path][-1]),
            {number: traced.nodes for number, traced in self._traced.items() if number != self._pooling},
        )

    def path(self) -> AttentionPath:
        """Return the path."""
        calls = [call for number, call in self._calls.items() if number != self._pooling]
        after = [self._calls[number] for number in sorted(self._after() - {self._pooling})]
        beside = [self._calls[number] for number in sorted(self._beside())]
        kept, mixed_after = self._mixing()
        problem = (
            next(filter(None, map(not_global, calls)), "")
            or unequal_tokens(calls)
            or other_tokens(calls[-1], self._features)
            or (several_sequences(beside[0], self._features) if beside else "")
            or (not_before(after[0], self._features) if after else "")
            or ("" if self._is_chain() else no_chain(calls))
            or (unseen_mixing(mixed_after[0]) if mixed_after else "")
        )
        is_read = not beside and all(call.of_one_query for call in after)  # later attention may only pool the tokens
        stages = () if problem or self._order.stages is None else self._order.stages
        return AttentionPath(
            calls=self._calls,
            features=self._features,
            readout=self._readout,
            stages=tuple(stage.layers for stage in stages),
            kept=kept if is_read else frozenset(),
            problem=problem,
            pooling=self._pooling,
        )

    def _found_pooling(self) -> int | None:
        """Return the attention with which one query pools the last tokens, if nothing else reads them."""
        last = max(self._calls)
        call, nodes = self._calls[last], self._traced[last].nodes
        is_pooling = (
            len(self._calls) > 1
            and call.of_one_query
            and call.windows == 1
            and call.keys == self._features.count
            and call.key_locations is not None
            and call.key_locations.elements == tuple(self._features.elements)
            and len(nodes) == 1
            and self._end not in ancestors(self._graph.ends, without=nodes)
        )
        return last if is_pooling else None

    def _numbers_at(self, nodes: Set[Node | None]) -> set[int]:
        return {number for number, traced in self._traced.items() if not nodes.isdisjoint(traced.nodes)}

    def _after(self) -> set[int]:
        """Return the layers that depend on the last tokens."""
        found: set[Node | None] = {self._end}
        for node in reversed([*self._graph.path]):
            if any(before in found for before, _ in node.next_functions):
                found.add(node)
        return self._numbers_at(found)

    def _beside(self) -> set[int]:
        """Return the layers from which a path to the scores bypasses the last tokens."""
        return self._numbers_at(ancestors(self._graph.ends, without={self._end})) - self._after()

    def _is_chain(self) -> bool:
        """Return whether the layers follow one another, or are parallel with the same tokens."""
        stages, tokens = self._order.stages, self._features.count
        return stages is not None and all(len(stage.layers) == 1 or stage.reads_and_returns(tokens) for stage in stages)

    def _mixing(self) -> tuple[frozenset[int], list[str]]:
        """Return the layers whose output tokens keep their position, and sources whose tokens mix outside of attention.

        Attention is cut from the graph. Then each token of the values, and each of the last tokens, must depend on a
        single token. This is a token before all layers, or an output token of an attention layer.
        """
        same = [
            number
            for number, call in self._calls.items()
            if not (not_global(call) or other_tokens(call, self._features))
        ]
        outputs = [(number, output) for number in same for _, output in self._traced[number].mixed]
        first = self._first_tokens()
        sources = [output for _, output in outputs] + first
        values = [value for number in same for value in self._traced[number].values]
        kept, mixed = {*same}, [False] * len(sources)
        for tokens in () if self._graph.lacks_gradients else self._tested():
            if any(found := mixed_sources([self._tokens, *values], sources, tokens, self._blocked)):
                mixed = [before or now for before, now in zip(mixed, found, strict=True)]
                found = mixed_sources([self._tokens], sources, tokens, self._blocked)
                kept -= {number for (number, _), now in zip(outputs, found, strict=False) if now}
        names = [str(self._calls[number]) for number, _ in outputs] + ["the first tokens"] * len(first)
        return frozenset(kept), [name for name, is_mixed in zip(names, mixed, strict=True) if is_mixed]

    def _tested(self) -> list[list[int]]:
        """Return the tokens of each test: half of the patches, and up to two others that the classification head reads.

        The half is random, so operations that mix or move patches almost always connect it with the other half. On a
        small grid, two patches are tested one by one instead.
        """
        elements = self._features.elements
        others = [[token] for token, weight in enumerate(self._readout) if weight and token not in elements]
        first, middle = elements[0], elements[min(len(elements) // 2 + 1, len(elements) - 1)]
        order = torch.randperm(len(elements), generator=torch.Generator().manual_seed(0)).tolist()
        half = {first, *(elements[number] for number in order[: len(elements) // 2])} - {middle}
        return ([[*half]] if len(elements) > SMALL else [[first], [middle]]) + others[:2]

    def _first_tokens(self) -> list[TokensAt]:
        """Return the tokens before all layers, if they have the shape of the last tokens, or an empty list."""
        streams = [*self._graph.streams(self._site)][::-1]
        sites = [self._graph.tensor(site) for site, _ in [*self._graph.sites][::-1] if site.shape == self._site.shape]
        for tensor in [*streams, *sites]:
            if tensor.grad_fn is not None and self._order.before.get(tensor.grad_fn) == 0:
                return [TokensAt(tensor, self._tokens.dim)]
        return []
