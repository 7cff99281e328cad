"""Generic attention explainability."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_attention.attention_ops import (
    chained_layers,
    gradient_times_attention,
    last_to_first,
    on_grid,
    readout_row,
    row_times_matrix,
)
from xai_core.plugin import Layer


class GenericAttention(xai.Explainer):
    """Generic attention explainability: relevance propagated through the attention of all layers.

        A_l = mean over heads of (dy/dA_l * A_l)^+  (eq. 5)
        R = I,    R <- R + A_l R from the first layer to the last  (eq. 6)

    The map is the row of R - I that belongs to the class token. Only this row is computed, from the last layer to the
    first: r <- r + r A_l. If the classification head reads other tokens, the row is the mean of their rows.

    Source: Chefer, Gur and Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
    Transformers", ICCV 2021, the rule for self-attention.

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
        adapter.attention_path(self.module).chain(self.name)
        return xai.Needs(attention=True, attention_gradients=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Propagate the row of the class token from the last layer to the first."""
        path = captured.adapter.attention_path(self.module)
        start = readout_row(captured, path)
        relevance = torch.zeros_like(start)
        for layer, read in last_to_first(chained_layers(captured, path, self.name), path.rows):
            blocks = gradient_times_attention(layer, read)
            positive = ((indices, rows.relu().mean(1)) for indices, rows in blocks)
            relevance = relevance + row_times_matrix(start + relevance, positive)
        return on_grid(path.features, relevance)
