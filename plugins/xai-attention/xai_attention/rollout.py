"""Attention rollout."""

import torch

import xai_core as xai
from xai_attention.attention_ops import (
    Blocks,
    check_fusion,
    downwards,
    fuse,
    on_grid,
    over_same_tokens,
    read_row,
    times,
)
from xai_core.plugin import AttentionLayer, OptionError, Relevance


class Rollout(xai.Explainer):
    """Attention rollout: how much of each patch reaches the class token through all layers.

    A^_l = rownorm(0.5 A_l + 0.5 I), with A_l the heads fused; R = A^_L ... A^_1 (section 4, "attention
    rollout"); the map is the class token's row of R. That row alone is computed, as a chain of
    vector-matrix products from the last layer down, in blocks of rows. Models without a class token start
    from the mean over the tokens that their head averages. The rows on the way are its parts: part l is the same
    for A^_L ... A^_l alone, from the last layer down to layer l, and part 0 is the map.

    Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020. The fusion by maximum
    or minimum and the discarding of the smallest weights are of Gildenblat's vit-explain (2020), here for
    each image on its own, and with rows normalized after discarding.

    Parameters
    ----------
    heads
        How heads are fused: `mean`, `max` or `min`.
    discard_ratio
        The share of each layer's fused weights, the smallest, that is set to zero; in [0, 1). The class
        token's own weight on itself is kept, as there.
    """

    name = "rollout"
    targeted = False

    def __init__(self, heads: str = "mean", discard_ratio: float = 0.0) -> None:
        if not 0 <= discard_ratio < 1:
            raise OptionError(f"discard_ratio must be at least 0 and below 1, got {discard_ratio}")
        self.heads = check_fusion(heads)
        self.discard_ratio = discard_ratio

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """The attention of every layer, in a model whose head reads tokens."""
        _ = adapter.readout
        return xai.Needs(attention=True)

    def explain(self, captured: xai.Captured) -> Relevance:
        """Multiply the class token's row through the layers, last to first."""
        layers = over_same_tokens(captured, self.name)
        row = read_row(captured, layers[-1].keys)
        down_to = []
        for layer, read in downwards(layers, captured.adapter.readout):
            row = times(row, self._with_residual(layer, read))
            down_to.append(on_grid(captured, row))
        return Relevance(down_to[-1], torch.stack(down_to[::-1], 1))

    def _with_residual(self, layer: AttentionLayer, read: slice) -> Blocks:
        """Rows of A^."""
        for part, fused in self._kept(layer, read):
            halves = 0.5 * fused
            halves.diagonal(part.start, -2, -1).add_(0.5)
            yield part, halves / halves.sum(-1, keepdim=True)

    def _kept(self, layer: AttentionLayer, read: slice) -> Blocks:
        """Rows of A with the heads fused; all of A at once only where its smallest weights are discarded."""
        if not self.discard_ratio:
            yield from self._fused(layer, read)
            return
        fused = torch.cat([rows for _, rows in self._fused(layer, slice(0, layer.queries))], 1)  # [B,N,N]
        weights = fused.flatten(1)
        smallest = weights.topk(int(weights.shape[1] * self.discard_ratio), largest=False).indices
        kept = weights[:, :1].clone()
        yield (
            slice(0, layer.queries),
            weights.scatter(1, smallest, 0).index_copy(1, smallest.new_zeros(1), kept).view_as(fused),
        )

    def _fused(self, layer: AttentionLayer, read: slice) -> Blocks:
        """Rows of A with the heads fused."""
        return ((part, fuse(rows, self.heads)) for part, rows in layer.blocks(read))
