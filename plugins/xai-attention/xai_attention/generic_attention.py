"""Generic attention explainability."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_attention.attention_ops import (
    RowBlocks,
    chained_layers,
    gradient_times_attention,
    last_to_first,
    on_grid,
    readout_row,
    row_times_matrix,
)
from xai_core.plugin import AttentionLayer, Layer


class GenericAttention(xai.Explainer):
    """Generic attention explainability: relevance propagated through the attention of all layers.

        A_l = mean over heads of (dy/dA_l * A_l)^+  (eq. 5)
        R = I,    R <- R + A_l R from the first layer to the last  (eq. 6)

    The map is the row of R - I that belongs to the class token. Only this row is computed, from the last layer to the
    first: r <- r + r A_l. If the classification head reads other tokens, the row is the mean of their rows. If one
    learned query pools the tokens by attention (SigLIP), its row is

        a (rownorm(R - I) + I)  (eq. 9 and 10),

    with `a` the attention of this query, weighted as A_l.

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
        adapter.attention_path(self.module).chain(self.name, pooled=True)
        return xai.Needs(attention=True, attention_gradients=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Propagate the row of the class token from the last layer to the first."""
        path = captured.adapter.attention_path(self.module)
        layers = chained_layers(captured, path, self.name)
        row = readout_row(captured, path, _positive)
        if path.pooling is None:
            return on_grid(path.features, _received(row, layers, path.rows))
        sums = _row_sums(layers, torch.ones_like(row))
        normalized = torch.where(sums > 0, row / sums, 0)
        return on_grid(path.features, _received(normalized, layers, path.rows) + row)


def _received(row: Float[Tensor, "B N"], layers: Sequence[AttentionLayer], read: slice) -> Float[Tensor, "B N"]:
    """Return row (R - I)."""
    relevance = torch.zeros_like(row)
    for layer, rows in last_to_first(layers, read):
        relevance = relevance + row_times_matrix(row + relevance, _positive(layer, rows))
    return relevance


def _row_sums(layers: Sequence[AttentionLayer], ones: Float[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Return (R - I) 1."""
    sums = torch.zeros_like(ones)
    for layer in layers:
        column = (ones + sums)[..., None]
        blocks = [rows.to(column) @ column for _, rows in _positive(layer, slice(0, layer.queries))]
        sums = sums + torch.cat(blocks, 1)[..., 0]
    return sums


def _positive(layer: AttentionLayer, read: slice) -> RowBlocks:
    """Return blocks of rows of the mean over heads of (dy/dA * A)^+."""
    return ((indices, rows.relu().mean(1)) for indices, rows in gradient_times_attention(layer, read))
