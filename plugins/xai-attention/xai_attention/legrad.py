"""LeGrad."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_attention.attention_ops import on_grid
from xai_core.plugin import AttentionLayer, Relevance


class LeGrad(xai.Explainer):
    """LeGrad: the sensitivity of each transformer block's score to the attention in this block.

    The score s_l of block l is the target's score if the layers after the last block receive the tokens Z_l of block l.
    These layers are the norm, the pooling or class token, and the linear layer. The map of a block is (ds_l/dA_l)^+,
    averaged over heads and queries, at the patches as keys. The map of the method is the mean of the maps of all
    blocks. The parts are the maps of the blocks.

    If one learned query pools the tokens by attention (SigLIP), A_l is the attention of this query to the tokens Z_l.

    Source: Bousselham, Boggust, Chaybouti, Strobelt and Kuehne, "LeGrad: An Explainability Method for Vision
    Transformers via Feature Formation Sensitivity", ICCV 2025, section 3.
    """

    name = "legrad"

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the gradient of each block's score, after checking that each block has one attention layer."""
        adapter.attention_path().chain(self.name, pooled=True)
        return xai.Needs(block_scores=adapter.blocks)

    def explain(self, captured: xai.Captured) -> Relevance:
        """Average the positive part of the gradients."""
        rows = torch.cat([_mean_positive_gradient(layer) for layer in captured.block_attention])  # [L B,N]
        by_image = rows.unflatten(0, (-1, len(captured.images))).transpose(0, 1)
        maps = on_grid(captured.adapter.blocks[-1], by_image)
        return Relevance(maps.mean(1), maps)


def _mean_positive_gradient(layer: AttentionLayer) -> Float[Tensor, "B N"]:
    """Average the positive part of the gradient over heads and queries, in blocks of queries."""
    sums = [layer.gradient_rows(part.start, part.stop).relu().mean(1).sum(1) for part in layer.parts()]
    return torch.stack(sums).sum(0) / layer.queries
