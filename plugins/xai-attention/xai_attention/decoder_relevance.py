"""Relevance of the tokens of an image for the queries of a decoder."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_attention.attention_ops import RowBlocks, gradient_times_attention
from xai_core.plugin import AttentionLayer, Decoder, UnsuitableError


def positive(layer: AttentionLayer, read: slice) -> RowBlocks:
    """Return blocks of rows of the mean over heads of (dy/dA * A)^+."""
    return ((indices, rows.relu().mean(1)) for indices, rows in gradient_times_attention(layer, read))


def decoder_row(captured: xai.Captured, decoder: Decoder) -> Float[Tensor, "B N"]:
    """Return the row u for which the relevance of the tokens is u (rownorm(R - I) + I), with R that of the encoder.

    The rules for attention among queries, A_qq, and from queries to tokens, A_qi, are

        R_qi <- R_qi + A_qq R_qi,    R_qq <- R_qq + A_qq R_qq  (eq. 6 and 7)
        R_qi <- R_qi + (rownorm(R_qq - I) + I)^T A_qi (rownorm(R_ii - I) + I)  (eq. 8 to 10),

    in the order of the layers. Only the row of R_qi that belongs to the query of the score is computed, from the last
    layer to the first.

    Raises
    ------
    UnsuitableError
        If the model computes the attention of some queries once for all images.
    """
    layers = [captured.attention_layer(number) for number in decoder.layers]
    if any(layer.batch != len(captured.images) for layer in layers):
        raise UnsuitableError(
            "generic-attention requires attention of each image. This model computes attention among its queries once "
            "for all images; pass one image at a time"
        )
    row = _read_queries(layers[-1])
    identity = torch.eye(decoder.queries, dtype=row.dtype, device=row.device)
    others = torch.zeros_like(identity).expand(len(row), -1, -1)  # R_qq - I
    matrices = []
    for number, layer in zip(decoder.layers, layers, strict=True):
        if number in decoder.cross:
            sums = others.sum(2, keepdim=True)
            matrices.append((others / sums.where(sums > 0, 1) + identity).mT)
        else:
            among = torch.cat([rows for _, rows in positive(layer, slice(0, layer.queries))], 1)
            others = others + among + among @ others
            matrices.append(among)
    tokens = []
    for number, layer, matrix in reversed([*zip(decoder.layers, layers, matrices, strict=True)]):
        if number in decoder.cross:
            tokens.append(_times_rows(_times(row, matrix), layer))
        else:
            row = row + _times(row, matrix)
    return torch.stack(tokens).sum(0)


def _read_queries(last: AttentionLayer) -> Float[Tensor, "B Q"]:
    """Return 1 for the query that the score depends on, and 0 for the others.

    The queries are not mixed after the last attention, so only this query has a gradient there. The mean is taken if
    there are several such queries.
    """
    gradients = [last.gradient_rows(part.start, part.stop).abs().amax((1, 3)) for part in last.parts()]
    gradient = torch.cat(gradients, 1)
    read = (gradient > 0).to(gradient)
    return read / read.sum(1, keepdim=True).clamp_min(1)


def _times(row: Float[Tensor, "B n"], matrix: Float[Tensor, "B n m"]) -> Float[Tensor, "B m"]:
    """Return the product of a row and a matrix, for each image."""
    return (row[:, None] @ matrix).squeeze(1)


def _times_rows(row: Float[Tensor, "B Q"], layer: AttentionLayer) -> Float[Tensor, "B N"]:
    """Return the product of a row and the weighted attention of a layer, in blocks of its rows."""
    products = [_times(row[:, indices], rows) for indices, rows in positive(layer, slice(0, layer.queries))]
    return torch.stack(products).sum(0)
