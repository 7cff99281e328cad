"""Gradient rollout."""

import xai_core as xai
from xai_attention.attention_ops import Blocks, weighted
from xai_attention.rollout import Rollout
from xai_core.plugin import AttentionLayer


class GradientRollout(Rollout):
    """Attention rollout for a class: each layer's attention weighted by its own gradient before it is rolled out.

    A_l becomes relu(mean over heads of dy/dA_l * A_l) in A^_l = rownorm(0.5 A_l + 0.5 I), R = A^_L ... A^_1.

    Source: Gildenblat, vit-explain (2020), after Abnar and Zuidema, "Quantifying Attention Flow in
    Transformers", ACL 2020. There the gradients, which arrive from the last layer to the first, are paired with
    the layers in the other order; here each layer has its own.

    Parameters
    ----------
    discard_ratio
        The share of each layer's weights, the smallest, that is set to zero; in [0, 1).
    """

    name = "gradient-rollout"
    targeted = True

    def __init__(self, discard_ratio: float = 0.0) -> None:
        super().__init__(discard_ratio=discard_ratio)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """The attention of every layer and its gradient, in a model whose head reads tokens."""
        _ = adapter.readout
        return xai.Needs(attention=True, attention_gradients=True)

    def _fused(self, layer: AttentionLayer, read: slice) -> Blocks:
        """Rows of relu(mean over heads of dy/dA * A)."""
        return ((part, rows.mean(1).relu()) for part, rows in weighted(layer, read))
