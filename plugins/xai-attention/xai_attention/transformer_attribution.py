"""Transformer attribution."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_attention.attention_ops import chained_layers, last_to_first, on_grid, readout_row, row_times_matrix
from xai_attention.attention_relevance import attention_relevance
from xai_core.plugin import AttentionLayer, Layer, require_plain_modules


class TransformerAttribution(xai.Explainer):
    """Transformer attribution: relevance of attention weights, times their gradients, propagated through all layers.

        A_l = I + mean over heads of (dy/dA_l * R_l)^+
        C = A_L ... A_1

    R_l is the relevance of the attention weights A_l. It starts as 1 at the score, and is propagated by rules for each
    operation, in float64 and for each image separately: see `AttributionRules`. The map is the row of C - I that
    belongs to the class token. Only this row is computed, from the last layer to the first. If the classification head
    reads other tokens, the row is the mean of their rows.

    Source: Chefer, Gur and Wolf, "Transformer Interpretability Beyond Attention Visualization", CVPR 2021.

    Parameters
    ----------
    module
        Name of the module to which the method is limited, such as a vision tower, or the module itself. Default: the
        whole model.
    """

    name = "transformer-attribution"
    expected_failures: ClassVar[Mapping[str, str]] = {
        "supports_bfloat16": "the rules divide by sums that may be small, so the rounding of weights changes the map"
    }

    def __init__(self, module: Layer | None = None) -> None:
        self.module = module

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the attention of every layer and its gradient, after checking that the layers can be chained."""
        require_plain_modules(adapter.model, self.name, "generic-attention")
        adapter.attention_path(self.module).chain(self.name)
        return xai.Needs(attention=True, attention_gradients=True)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for the modified pass, and one for the shared pass."""
        return 2

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Propagate the row of the class token from the last layer to the first."""
        path = captured.adapter.attention_path(self.module)
        stages, layers = path.chain(self.name), chained_layers(captured, path, self.name)
        relevant = attention_relevance(captured, [number for stage in stages for number in stage], self.name)
        start = readout_row(captured, path)
        row = torch.zeros_like(start)
        for stage, (layer, read) in zip(reversed(stages), last_to_first(layers, path.rows), strict=True):
            row = row + row_times_matrix(start + row, weighted(layer, [relevant[number] for number in stage], read))
        return on_grid(path.features, row)


def weighted(
    layer: AttentionLayer, relevant: Sequence[Sequence[AttentionLayer]], read: slice
) -> Iterator[tuple[slice, Float[Tensor, "B rows N"]]]:
    """Yield blocks of rows of the positive part of gradient times relevance, averaged over heads.

    `relevant` contains the parallel parts of the layer for each image, with the gradients of relevance propagation.
    """
    for part in layer.parts(read):
        bounds = part.start, part.stop
        relevance = [
            torch.cat([image.rows(*bounds) * image.gradient_rows(*bounds) for image in images]) for images in relevant
        ]
        yield part, (layer.gradient_rows(*bounds) * torch.cat(relevance, 1)).relu().mean(1)
