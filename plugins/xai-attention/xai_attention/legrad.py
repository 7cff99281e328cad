"""LeGrad."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_attention.attention_ops import on_grid
from xai_core.plugin import AttentionLayer, Relevance


class LeGrad(xai.Explainer):
    """How attention would have to change to form features of the class, layer by layer.

    Each block l has a score of its own, s_l: that of the target if what follows the last block (norm, pooling or
    class token, linear layer) were given block l's tokens Z_l. Its map is (ds_l/dA_l)^+, averaged over the heads and
    the queries and read at the patches as keys; the map is the mean over the layers, which are its parts.

    Source: Bousselham, Boggust, Chaybouti, Strobelt and Kuehne, "LeGrad: An Explainability Method for Vision
    Transformers via Feature Formation Sensitivity", ICCV 2025, section 3.
    """

    name = "legrad"

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """The gradient of every block's own score at its attention, in a model whose head reads tokens."""
        _ = adapter.readout
        return xai.Needs(block_scores=adapter.blocks)

    def explain(self, captured: xai.Captured) -> Relevance:
        """Average what is positive of each layer's gradient."""
        layers = torch.stack([_positive(layer) for layer in captured.block_attention], 1)
        maps = on_grid(captured, layers)
        return Relevance(maps.mean(1), maps)


def _positive(layer: AttentionLayer) -> Float[Tensor, "B N"]:
    """The positive part of the gradient, averaged over heads and queries, in blocks of queries."""
    sums = [layer.gradient_rows(part.start, part.stop).relu().mean(1).sum(1) for part in layer.parts()]
    return torch.stack(sums).sum(0) / layer.queries
