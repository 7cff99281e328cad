"""Class attention."""

import xai_core as xai
from xai_attention.attention_ops import check_fusion, chosen, fuse, on_grid
from xai_core.plugin import Relevance, UnsuitableError


class ClassAttention(xai.Explainer):
    """What the class token attends to in a layer where it alone asks: one query, and the tokens as keys.

    softmax(q_cls k' / sqrt(d)) over the patches, with the heads fused, and each head as a part. Attention
    pooling by one learnt query is read the same way.

    Source: Touvron et al., "Going deeper with Image Transformers", ICCV 2021.

    Parameters
    ----------
    layer
        Index among the class-attention layers, in order of execution; negative ones count from the end.
    heads
        How heads are fused: `mean`, `max` or `min`.
    """

    name = "class-attention"
    targeted = False

    def __init__(self, layer: int = -1, heads: str = "mean") -> None:
        self.layer = layer
        self.heads = check_fusion(heads)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Attention, in a model that has a layer with one query."""
        if not adapter.probe.class_attention:
            raise UnsuitableError(
                "class-attention is defined for layers in which one query attends to all tokens, as in CaiT, and this "
                "model has none; use "
                + ("raw-attention" if adapter.kind == "token" else "a method for feature maps, such as grad-cam")
            )
        return xai.Needs(attention=True)

    def explain(self, captured: xai.Captured) -> Relevance:
        """Read the one row of the layer's attention."""
        batch = len(captured.images)
        layers = [layer for layer in captured.attention if layer.of_one_query and layer.batch == batch]
        rows = chosen(layers, self.layer).rows()
        return Relevance(on_grid(captured, fuse(rows, self.heads)[:, 0]), on_grid(captured, rows[:, :, 0]))
