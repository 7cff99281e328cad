"""Generic attention explainability."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_attention.attention_ops import downwards, on_grid, over_same_tokens, read_row, times, weighted


class GenericAttention(xai.Explainer):
    """Relevance that attention passes on for a class, layer by layer, on top of what each token keeps.

    A_l = mean over heads of (dy/dA_l * A_l)^+ (eq. 5); R = I, then R <- R + A_l R from the first layer to the
    last (eq. 6); the map is the class token's row of R - I. That row alone is computed, from the last layer
    down: r <- r + r A_l. Models without a class token start from the mean over the tokens that their head
    averages.

    Source: Chefer, Gur and Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and
    Encoder-Decoder Transformers", ICCV 2021, the rule for self-attention.
    """

    name = "generic-attention"

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """The attention of every layer and its gradient, in a model whose head reads tokens."""
        _ = adapter.readout
        return xai.Needs(attention=True, attention_gradients=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Pass the class token's row through the layers, last to first."""
        layers = over_same_tokens(captured, self.name)
        own = read_row(captured, layers[-1].keys)
        passed = torch.zeros_like(own)
        for layer, read in downwards(layers, captured.adapter.readout):
            positive = ((part, rows.relu().mean(1)) for part, rows in weighted(layer, read))
            passed = passed + times(own + passed, positive)
        return on_grid(captured, passed)
