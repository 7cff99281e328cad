"""Generic attention explainability."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_attention.attention_ops import (
    chained_layers,
    last_to_first,
    on_grid,
    readout_row,
    row_times_matrix,
)
from xai_attention.decoder_relevance import decoder_row, positive
from xai_core.plugin import AttentionLayer, Decoder, Layer


class GenericAttention(xai.Explainer):
    """Generic attention explainability: relevance propagated through the attention of all layers.

        A_l = mean over heads of (dy/dA_l * A_l)^+  (eq. 5)
        R = I,    R <- R + A_l R from the first layer to the last  (eq. 6)

    The map is the row of R - I that belongs to the class token. Only this row is computed, from the last layer to the
    first: r <- r + r A_l. If the classification head reads other tokens, the row is the mean of their rows. If one
    learned query pools the tokens by attention (SigLIP), its row is

        a (rownorm(R - I) + I)  (eq. 9 and 10),

    with `a` the attention of this query, weighted as A_l. In an encoder-decoder such as DETR, the row belongs to the
    query whose score is explained, see `decoder_row`.

    Source: Chefer, Gur and Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
    Transformers", ICCV 2021, the rules for self-attention and for attention between two sets of tokens.

    Parameters
    ----------
    module
        Name of the module to which the method is limited, such as a vision tower, or the module itself. Default: the
        whole model.
    """

    name = "generic-attention"

    def __init__(self, module: Layer | None = None) -> None:
        self.module = module

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the attention of every layer and its gradient, after checking that the layers can be chained."""
        path = adapter.attention_path(self.module)
        if self._decoder(adapter) is None:
            path.chain(self.name, pooled=True)
        return xai.Needs(attention=True, attention_gradients=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Propagate the row of the class token, or of a query, from the last layer to the first."""
        path = captured.adapter.attention_path(self.module)
        decoder = self._decoder(captured.adapter)
        layers = chained_layers(captured, path, self.name, None if decoder is None else decoder.encoder)
        row = readout_row(captured, path, positive) if decoder is None else decoder_row(captured, decoder)
        if decoder is None and path.pooling is None:
            return on_grid(path.features, _received(row, layers, path.rows))
        sums = _row_sums(layers, torch.ones_like(row))
        normalized = torch.where(sums > 0, row / sums, 0)
        return on_grid(path.features, _received(normalized, layers, slice(0, path.features.count)) + row)

    def _decoder(self, adapter: xai.ModelAdapter) -> Decoder | None:
        return adapter.decoder if self.module is None else None


def _received(row: Float[Tensor, "B N"], layers: Sequence[AttentionLayer], read: slice) -> Float[Tensor, "B N"]:
    """Return row (R - I)."""
    relevance = torch.zeros_like(row)
    for layer, rows in last_to_first(layers, read):
        relevance = relevance + row_times_matrix(row + relevance, positive(layer, rows))
    return relevance


def _row_sums(layers: Sequence[AttentionLayer], ones: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Return (R - I) 1."""
    sums = torch.zeros_like(ones)
    for layer in layers:
        column = (ones + sums)[..., None]
        blocks = [rows.to(column) @ column for _, rows in positive(layer, slice(0, layer.queries))]
        sums = sums + torch.cat(blocks, 1)[..., 0]
    return sums
