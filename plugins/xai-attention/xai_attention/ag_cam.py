"""AG-CAM."""

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_attention.attention_ops import chained_layers, on_grid, read_rows
from xai_core.plugin import AttentionLayer, AttentionPath, Layer, Relevance


class AGCAM(xai.Explainer):
    """AG-CAM: gradients of attention, weighted by the sigmoid of the attention logits, summed over layers and heads.

        L = sum over layers l and heads h of sigmoid(S_lh) * (dy/dA_lh)^+    (eqs. 2 and 7)

    A = softmax(S) is the attention of the class token to the patches, and S are its logits. The sigmoid replaces the
    softmax, in which few patches dominate. If the classification head reads other tokens, the rows of these tokens are
    averaged. The parts are the maps of the layers.

    Source: Leem and Seo, "Attention Guided CAM: Visual Explanations of Vision Transformer Guided by Self-Attention",
    AAAI 2024.

    Parameters
    ----------
    module
        Name of the module to which the method is limited, such as a vision tower, or the module itself. Default: the
        whole model.
    """

    name = "ag-cam"

    def __init__(self, module: Layer | None = None) -> None:
        self.module = module

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the attention of every layer and its gradient, after checking that the layers can be chained."""
        adapter.attention_path(self.module).chain(self.name)
        return xai.Needs(attention=True, attention_gradients=True)

    def explain(self, captured: xai.Captured) -> Relevance:
        """Sum the maps of the layers."""
        path = captured.adapter.attention_path(self.module)
        rows = torch.stack([_row(layer, path) for layer in chained_layers(captured, path, self.name)], 1)  # [B,L,N]
        maps = on_grid(path.features, rows)
        return Relevance(maps.sum(1), maps)


def _row(layer: AttentionLayer, path: AttentionPath) -> Float[Tensor, "B N"]:
    """Return one layer's map, for all tokens as keys."""
    blocks = (
        (part, layer.logits(part.start, part.stop).sigmoid() * layer.gradient_rows(part.start, part.stop).relu())
        for part in layer.parts(path.rows)
    )
    return read_rows(blocks, path.readout).sum(1)
