"""Head attention."""

import xai_core as xai
from xai_attention.attention_ops import layer_at, mean_of_rows, on_grid
from xai_core.plugin import Relevance, check_integer


class HeadAttention(xai.Explainer):
    """Head attention: the attention of the class token in one layer, averaged over heads, with each head as a part.

    The map is softmax(q_cls k' / sqrt(d)) at the patches. Only this row is computed. For models without a class token,
    it is the mean over the rows of the tokens that the head averages.

    Source: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021, figure 1.

    Parameters
    ----------
    layer
        Index of the attention layer, in order of execution. Negative indices count from the end.
    """

    name = "head-attention"
    targeted = False

    def __init__(self, layer: int = -1) -> None:
        self.layer = check_integer("layer", layer)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request attention, after checking that the head reads tokens."""
        _ = adapter.readout
        return xai.Needs(attention=True)

    def explain(self, captured: xai.Captured) -> Relevance:
        """Return one row of the layer's attention, or the mean of several rows."""
        attention = layer_at(captured.attention, self.layer)
        attention.require_global(len(captured.images), self.name)
        read = captured.adapter.readout
        heads = on_grid(captured, mean_of_rows(attention.blocks(read), read))
        return Relevance(heads.mean(1), heads)
