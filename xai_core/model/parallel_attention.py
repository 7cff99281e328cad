"""Attention layers that run in parallel, as one layer."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from xai_core.model.attention import AttentionLayer, Operands


class ParallelAttention(AttentionLayer):
    """Layers whose outputs for the same tokens are added or concatenated: one layer with all their attention heads."""

    def __init__(self, layers: Sequence[AttentionLayer]) -> None:
        self._layers = layers
        self.batch, self.queries, self.keys = layers[0].batch, layers[0].queries, layers[0].keys
        self.heads = sum(layer.heads for layer in layers)

    def rows(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """See `AttentionLayer.rows`."""
        return torch.cat([layer.rows(start, stop) for layer in self._layers], 1)

    def gradient_rows(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """See `AttentionLayer.gradient_rows`."""
        return torch.cat([layer.gradient_rows(start, stop) for layer in self._layers], 1)

    def operands(self, start: int = 0, stop: int | None = None) -> Operands:
        """See `AttentionLayer.operands`."""
        each = [layer.operands(start, stop) for layer in self._layers]
        return Operands(*(torch.cat(vectors, 1) for vectors in zip(*each, strict=True)))

    def logits(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """See `AttentionLayer.logits`."""
        return torch.cat([layer.logits(start, stop) for layer in self._layers], 1)
