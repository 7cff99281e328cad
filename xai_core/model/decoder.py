"""A decoder: queries that attend to each other and to the tokens of an image, as in DETR."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Decoder:
    """Attention layers between the tokens of an image and the scores of several queries.

    Attention layers are given by their index among all attention layers of a forward pass, in order of execution. The
    scores depend on the image only through the cross-attention, and queries are mixed only by the self-attention. Each
    layer reads the queries that the previous layer returns. Each score is computed from one query.

    Attributes
    ----------
    encoder
        The stages of the attention layers before the tokens, as in `AttentionPath.stages`.
    layers
        The attention layers of the queries.
    cross
        The layers in `layers` whose keys are the tokens, in the order of the tokens. The keys of the other layers are
        the queries.
    queries
        The number of queries.
    """

    encoder: tuple[tuple[int, ...], ...]
    layers: tuple[int, ...]
    cross: frozenset[int]
    queries: int
