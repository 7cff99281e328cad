"""Raw attention."""

import torch

import xai_core as xai
from xai_attention.attention_ops import check_fusion, chosen, fuse, mean_of_rows, on_grid
from xai_core.plugin import Relevance


class RawAttention(xai.Explainer):
    """What the class token attends to in one layer, with the heads fused: the baseline of attention methods.

    The class token's row of A_l, at the patches, and that of each head as a part; only that row is computed.
    Models without a class token are read as their head reads them: by the mean over the tokens that it averages.

    Source: the "raw attention" of Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020,
    section 3, and of Chefer et al., CVPR 2021.

    Parameters
    ----------
    layer
        Index of the attention layer, in order of execution; negative ones count from the end.
    heads
        How heads are fused: `mean`, `max` or `min`.
    """

    name = "raw-attention"
    targeted = False

    def __init__(self, layer: int = -1, heads: str = "mean") -> None:
        self.layer = layer
        self.heads = check_fusion(heads)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Attention, in a model whose head reads tokens."""
        _ = adapter.readout
        return xai.Needs(attention=True)

    def explain(self, captured: xai.Captured) -> Relevance:
        """Read one row of the layer's attention, or the mean of several."""
        layer = chosen(captured.attention, self.layer)
        layer.require_global(len(captured.images), self.name)
        read = captured.adapter.readout
        blocks = ((part, torch.cat([fuse(rows, self.heads)[:, None], rows], 1)) for part, rows in layer.blocks(read))
        maps = on_grid(captured, mean_of_rows(blocks, read))
        return Relevance(maps[:, 0], maps[:, 1:])
