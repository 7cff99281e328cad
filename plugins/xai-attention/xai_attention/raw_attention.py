"""Raw attention."""

import torch

import xai_core as xai
from xai_attention.attention_ops import HEAD_FUSIONS, chained_layers, fuse_heads, on_grid, read_rows
from xai_core.plugin import Layer, Relevance, check_choice, check_integer


class RawAttention(xai.Explainer):
    """Raw attention: the attention of the class token in one layer, with the heads fused, and each head as a part.

    It is the baseline to which attention methods are compared. The map is the row of A_l that belongs to the class
    token, at the patches. Only this row is computed. If the classification head reads other tokens, the map is the mean
    of their rows.

    Source: the "raw attention" of Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020, section 3,
    and of Chefer et al., CVPR 2021.

    Parameters
    ----------
    layer
        Index of the attention layer, in order of execution. Negative indices count from the end.
    heads
        How the heads are fused: `mean`, `max` or `min`.
    module
        Name of the module to which the method is limited, such as a vision tower, or the module itself. Default: the
        whole model.
    """

    name = "raw-attention"
    targeted = False

    def __init__(self, layer: int = -1, heads: str = "mean", module: Layer | None = None) -> None:
        self.layer, self.module = check_integer("layer", layer), module
        self.heads = check_choice("heads", heads, HEAD_FUSIONS)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request attention, after checking that the classification head reads the tokens of the layer."""
        adapter.attention_path(self.module).layer(self.layer, self.name)
        return xai.Needs(attention=True)

    def explain(self, captured: xai.Captured) -> Relevance:
        """Return one row of the layer's attention, or the mean of several rows."""
        path = captured.adapter.attention_path(self.module)
        [layer] = chained_layers(captured, path, self.name, [[path.layer(self.layer, self.name)]])
        blocks = (
            (indices, torch.cat([fuse_heads(rows, self.heads)[:, None], rows], 1))
            for indices, rows in layer.blocks(path.rows)
        )
        maps = on_grid(path.features, read_rows(blocks, path.readout))
        return Relevance(maps[:, 0], maps[:, 1:])
