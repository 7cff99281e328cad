"""Gradient rollout."""

import xai_core as xai
from xai_attention.attention_ops import RowBlocks, gradient_times_attention
from xai_attention.rollout import Rollout
from xai_core.plugin import AttentionLayer, Layer


class GradientRollout(Rollout):
    """Gradient rollout: attention rollout with attention weighted by its gradient for the target.

        A_l = relu(mean over heads of dy/dA_l * A_l)
        A^_l = rownorm(0.5 A_l + 0.5 I),    R = A^_L ... A^_1

    The map is the row of R that belongs to the class token.

    Source: Gildenblat, vit-explain (2020), after Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL
    2020. In vit-explain, the gradients arrive from the last layer to the first, but are paired with the layers from the
    first to the last. Here each layer is paired with its own gradient.

    Parameters
    ----------
    discard_ratio
        Fraction of each layer's weights, the smallest ones, that is set to zero, in [0, 1).
    module
        Name of the module to which the method is limited, such as a vision tower, or the module itself. Default: the
        whole model.
    """

    name = "gradient-rollout"
    targeted = True

    def __init__(self, discard_ratio: float = 0.0, module: Layer | None = None) -> None:
        super().__init__(discard_ratio=discard_ratio, module=module)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the attention of every layer and its gradient, after checking that the layers can be chained."""
        adapter.attention_path(self.module).chain(self.name, pooled=True)
        return xai.Needs(attention=True, attention_gradients=True)

    def _fused(self, layer: AttentionLayer, read: slice) -> RowBlocks:
        """Return blocks of rows of relu(mean over heads of dy/dA * A)."""
        return ((indices, rows.mean(1).relu()) for indices, rows in gradient_times_attention(layer, read))
