"""Class attention."""

import xai_core as xai
from xai_attention.attention_ops import HEAD_FUSIONS, fuse_heads, on_grid
from xai_core.plugin import Layer, LayerError, Relevance, UnsuitableError, check_choice, check_integer


class ClassAttention(xai.Explainer):
    """Class attention: the attention of the class token in a layer whose only query is the class token.

    The map is softmax(q_cls k' / sqrt(d)) at the patches, with the attention heads fused. The parts are the maps of the
    attention heads. The method also supports attention pooling with one learned query.

    Source: Touvron et al., "Going deeper with Image Transformers", ICCV 2021.

    Parameters
    ----------
    layer
        Index among the class-attention layers, in order of execution. Negative indices count from the end.
    heads
        How the heads are fused: `mean`, `max` or `min`.
    module
        Name of the module to which the method is limited, such as a vision tower, or the module itself. Default: the
        whole model.
    """

    name = "class-attention"
    targeted = False

    def __init__(self, layer: int = -1, heads: str = "mean", module: Layer | None = None) -> None:
        self.layer, self.module = check_integer("layer", layer), module
        self.heads = check_choice("heads", heads, HEAD_FUSIONS)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request attention, after checking that the model has a layer with one query."""
        if not adapter.probe.class_attention:
            raise UnsuitableError(
                "class-attention is defined for layers in which one query attends to all tokens, as in CaiT, and this "
                "model has none; use "
                + ("raw-attention" if adapter.kind == "token" else "a method for feature maps, such as grad-cam")
            )
        return xai.Needs(attention=True)

    def explain(self, captured: xai.Captured) -> Relevance:
        """Return the only row of the layer's attention."""
        calls = captured.adapter.probe.attention.calls
        module = "" if self.module is None else captured.adapter.layer_name(self.module)
        inside = [n for n, call in enumerate(calls) if call.on_path and call.is_in(module)]
        numbers = [n for n in inside if calls[n].of_one_query and calls[n].windows == 1]
        if not -len(numbers) <= self.layer < len(numbers):
            raise LayerError(
                f"class-attention layer {self.layer} is out of range; "
                f"{f'module {module!r}' if module else 'the model'} has {len(numbers)} such layers"
            )
        number = numbers[self.layer]
        rows = captured.attention_layer(number).rows()
        locations = calls[number].key_locations or captured.adapter.tokens(rows.shape[-1])
        return Relevance(on_grid(locations, fuse_heads(rows, self.heads)[:, 0]), on_grid(locations, rows[:, :, 0]))
