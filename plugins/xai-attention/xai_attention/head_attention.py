"""Head attention."""

import xai_core as xai
from xai_attention.attention_ops import chained_layers, on_grid, read_rows
from xai_core.plugin import Layer, Relevance, check_integer


class HeadAttention(xai.Explainer):
    """Head attention: the attention of the class token in one layer, averaged over heads, with each head as a part.

    The map is softmax(q_cls k' / sqrt(d)) at the patches. Only this row is computed. If the classification head reads
    other tokens, the map is the mean of their rows.

    Source: Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021, figure 1.

    Parameters
    ----------
    layer
        Index of the attention layer, in order of execution. Negative indices count from the end.
    module
        Name of the module to which the method is limited, such as a vision tower, or the module itself. Default: the
        whole model.
    """

    name = "head-attention"
    targeted = False

    def __init__(self, layer: int = -1, module: Layer | None = None) -> None:
        self.layer, self.module = check_integer("layer", layer), module

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request attention, after checking that the classification head reads the tokens of the layer."""
        adapter.attention_path(self.module).layer(self.layer, self.name)
        return xai.Needs(attention=True)

    def explain(self, captured: xai.Captured) -> Relevance:
        """Return one row of the layer's attention, or the mean of several rows."""
        path = captured.adapter.attention_path(self.module)
        [attention] = chained_layers(captured, path, self.name, [[path.layer(self.layer, self.name)]])
        heads = on_grid(path.features, read_rows(attention.blocks(path.rows), path.readout))
        return Relevance(heads.mean(1), heads)
