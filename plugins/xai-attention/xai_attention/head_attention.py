"""Head attention."""

import xai_core as xai
from xai_attention.attention_ops import chosen, mean_of_rows, on_grid
from xai_core.plugin import Relevance


class HeadAttention(xai.Explainer):
    """What the class token attends to in one layer: the mean over heads, and each head as a part.

    softmax(q_cls k' / sqrt(d)) over the patches; only that row is computed. Models without a class token
    are read as their head reads them: by the mean over the tokens that it averages.

    Source: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021, figure 1.

    Parameters
    ----------
    layer
        Index of the attention layer, in order of execution; negative ones count from the end.
    """

    name = "head-attention"
    targeted = False

    def __init__(self, layer: int = -1) -> None:
        self.layer = layer

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Attention, in a model whose head reads tokens."""
        _ = adapter.readout
        return xai.Needs(attention=True)

    def explain(self, captured: xai.Captured) -> Relevance:
        """Read one row of the layer's attention, or the mean of several."""
        attention = chosen(captured.attention, self.layer)
        attention.require_global(len(captured.images), self.name)
        read = captured.adapter.readout
        heads = on_grid(captured, mean_of_rows(attention.blocks(read), read))
        return Relevance(heads.mean(1), heads)
