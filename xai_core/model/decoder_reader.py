"""Reads the decoder between the tokens of an image and the scores of queries, from the graph of a forward pass."""

from collections.abc import Iterator, Sequence, Set

import torch

from xai_core.model.attention_call import AttentionCall
from xai_core.model.attention_order import AttentionOrder
from xai_core.model.attention_path_reader import AttentionPathReader, tokens_at
from xai_core.model.attention_trace import TracedAttention
from xai_core.model.attention_weights import TokensAt
from xai_core.model.autograd_graph import ancestors, dominators
from xai_core.model.decoder import Decoder
from xai_core.model.graph_nodes import Node
from xai_core.model.key_locations import key_locations
from xai_core.model.layouts import Features
from xai_core.model.observed_pass import ObservedPass
from xai_core.model.sites import Site
from xai_core.model.token_mixing import mixed_sources


def read_decoder(
    observed: ObservedPass, calls: Sequence[AttentionCall], last: tuple[Site, Features], readout: tuple[float, ...]
) -> Decoder | None:
    """Return the decoder of a model. None if the model has none, or if some property of `Decoder` is uncertain.

    Parameters
    ----------
    observed
        The forward pass.
    calls
        All attention layers.
    last
        The last tokens of the image.
    readout
        The weight of each of these tokens in the scores.
    """
    if len(calls) != len(observed.attentions) or observed.graph.tensor(last[0]).grad_fn is None:
        return None
    reader = DecoderReader(observed, calls, last)
    if not reader.is_decoder():
        return None
    encoder = {number: calls[number] for number in reader.encoder}
    stages: tuple[tuple[int, ...], ...] = ()
    if encoder:
        path = AttentionPathReader(observed, encoder, last, readout).path()
        if path.problem or path.pooling is not None:
            return None
        stages = path.stages
    return Decoder(stages, tuple(reader.layers), frozenset(reader.cross), reader.queries)


class DecoderReader:
    """Compares the attention layers after the last tokens of an image with those of a decoder.

    Attributes
    ----------
    encoder, layers
        The attention layers before the tokens, and the other attention layers that affect the scores.
    cross
        The layers whose values are computed from the tokens without other attention in between.
    queries
        The number of queries of each layer in `layers`.
    """

    def __init__(self, observed: ObservedPass, calls: Sequence[AttentionCall], last: tuple[Site, Features]) -> None:
        self._graph, self._calls, self._traced = observed.graph, calls, observed.attentions
        self._features, self._tokens = last[1], tokens_at(observed.graph, last)
        self._end: Node = self._tokens.value.grad_fn
        self._blocked = [mixed for traced in observed.attentions for mixed, _ in traced.mixed]
        affecting = self._numbers_at(ancestors(self._graph.ends))
        before = self._numbers_at(ancestors([self._end]))
        self.encoder = [number for number in affecting if number in before]
        self.layers = [number for number in affecting if number not in before]
        inner = {node for number in self.layers for node in self._traced[number].nodes}
        self.cross = [
            number for number in self.layers if self._end in ancestors(_value_nodes(self._traced[number]), inner)
        ]
        self.queries = calls[self.layers[0]].queries if self.layers else 0

    def is_decoder(self) -> bool:
        """Return whether all properties of `Decoder` hold, apart from those of the encoder."""
        return (
            bool(self.cross)
            and not self._graph.lacks_gradients
            and all(self._calls[number].on_path for number in self.encoder)
            and all(map(self._fits, self.layers))
            and self._is_only_way()
            and self._is_chain()
            and all(map(self._reads_tokens_in_order, self.cross))
            and not self._mixes_queries()
            and (bool(self._scores_of_queries) or self._are_of_one_query())
        )

    def _numbers_at(self, nodes: Set[Node | None]) -> list[int]:
        return [number for number, traced in enumerate(self._traced) if not nodes.isdisjoint(traced.nodes)]

    def _fits(self, number: int) -> bool:
        """Return whether a layer has the numbers of queries and keys of a decoder, and known dimensions."""
        call, traced = self._calls[number], self._traced[number]
        leading = traced.layer.leading
        return (
            len(traced.mixed) == 1
            and call.windows == 1
            and call.queries == self.queries
            and call.keys == (self._features.count if number in self.cross else self.queries)
            and (call.on_path or leading is None or (len(leading) == 2 and leading[0] == 1))
        )

    def _is_only_way(self) -> bool:
        """Return whether the scores depend on the image only through the tokens, and on them through `cross` only."""
        ends, source = self._graph.ends, [*self._graph.path][-1]
        across = {node for number in self.cross for node in self._traced[number].nodes}
        return source not in ancestors(ends, {self._end}) and self._end not in ancestors(ends, across)

    def _is_chain(self) -> bool:
        """Return whether each layer reads the queries that the previous layer returns.

        The values of self-attention must be computed from all previous layers, and those of `cross` from none.
        """
        [first] = self._traced[self.layers[0]].nodes
        nodes = {number: self._traced[number].nodes for number in self.layers}
        order = AttentionOrder.of(dominators(self._graph.ends, first), nodes)
        if order.stages is None or [stage.layers for stage in order.stages] != [(number,) for number in self.layers]:
            return False
        previous = 0
        for number in self.layers:
            before = [order.before.get(node, 0) for node in _value_nodes(self._traced[number])]
            if before != [0 if number in self.cross else previous] and number != self.layers[0]:
                return False
            previous |= 1 << number
        return True

    def _reads_tokens_in_order(self, number: int) -> bool:
        """Return whether each key of a layer is computed from the token with the same index."""
        [values], elements = self._traced[number].values, tuple(self._features.elements)
        locations = key_locations(values, self._tokens, self._features, self._blocked)
        others = [token for token in range(self._features.count) if token not in elements]
        return (
            locations is not None
            and locations.elements == elements
            and not any(mixed_sources([values], [self._tokens], [token], self._blocked)[0] for token in others)
        )

    def _mixes_queries(self) -> bool:
        """Return whether a query affects the score or the value of another query without attention.

        For each binary digit of the index of a query, the queries whose digit is 1 must not affect the others.
        """
        targets = self._scores_of_queries
        targets += [self._traced[number].values[0] for number in self.layers if number not in self.cross]
        sources = [output for number in self.layers for _, output in self._traced[number].mixed]
        return any(any(mixed_sources(targets, sources, queries, self._blocked)) for queries in _by_digit(self.queries))

    @property
    def _scores_of_queries(self) -> list[TokensAt]:
        """The scores, if they are [1,Q,K] with one row for each query, or an empty list."""
        return [TokensAt(each, 1) for each in self._graph.scores if each.ndim == 3 and each.shape[1] == self.queries]

    def _are_of_one_query(self) -> bool:
        """Return whether all scores are computed from one query after the last layer."""
        [(_, output)] = self._traced[self.layers[-1]].mixed
        [scores] = self._graph.scores
        cotangent = torch.arange(1, scores.numel() + 1, device=scores.device).cos().to(scores).view_as(scores)
        (gradient,) = torch.autograd.grad(scores, output.value, cotangent, retain_graph=True, allow_unused=True)
        return gradient is not None and int((gradient.movedim(output.dim, 0).flatten(1) != 0).any(1).sum()) == 1


def _value_nodes(traced: TracedAttention) -> list[Node]:
    """Return the operations that compute the values."""
    return [values.value.grad_fn for values in traced.values if values.value.grad_fn is not None]


def _by_digit(count: int) -> Iterator[list[int]]:
    """Yield the indices below `count` whose binary digit is 1, and those whose digit is 0, for each digit."""
    for digit in range((count - 1).bit_length()):
        for value in (0, 1):
            yield [index for index in range(count) if (index >> digit) & 1 == value]
