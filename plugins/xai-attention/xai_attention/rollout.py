"""Attention rollout."""

import torch

import xai_core as xai
from xai_attention.attention_ops import (
    HEAD_FUSIONS,
    RowBlocks,
    chained_layers,
    class_token_of,
    fuse_heads,
    last_to_first,
    on_grid,
    readout_row,
    row_times_matrix,
)
from xai_core.plugin import AttentionLayer, Layer, Relevance, check_choice, check_number


class Rollout(xai.Explainer):
    """Attention rollout: the attention of the class token to the patches, propagated through all layers.

        A^_l = rownorm(0.5 A_l + 0.5 I),    R = A^_L ... A^_1  (section 4, "attention rollout")

    A_l is the attention of layer l with the heads fused. The map is the row of R that belongs to the class token. Only
    this row is computed, as a chain of vector-matrix products from the last layer to the first, in blocks of rows.
    If the classification head reads other tokens, the row is the mean of their rows. If one query pools the tokens by
    attention (SigLIP), the row is a A^_L ... A^_1, with `a` this attention.

    The parts are the intermediate rows: part l is the row of A^_L ... A^_l, and part 0 is the map.

    Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020. Fusion by maximum or minimum and
    discarding of the smallest weights are from Gildenblat's vit-explain (2020). Here weights are discarded for each
    image separately, and rows are normalized after discarding.

    Parameters
    ----------
    heads
        How the heads are fused: `mean`, `max` or `min`.
    discard_ratio
        Fraction of each layer's fused weights, the smallest ones, that is set to zero, in [0, 1). As in vit-explain,
        the weight of the class token on itself is kept.
    module
        Name of the module to which the method is limited, such as a vision tower, or the module itself. Default: the
        whole model.
    """

    name = "rollout"
    targeted = False

    def __init__(self, heads: str = "mean", discard_ratio: float = 0.0, module: Layer | None = None) -> None:
        self.heads = check_choice("heads", heads, HEAD_FUSIONS)
        self.discard_ratio = check_number("discard_ratio", discard_ratio, minimum=0, below=1)
        self.module = module

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request the attention of every layer, after checking that the layers can be chained."""
        adapter.attention_path(self.module).chain(self.name, signed=False, pooled=True)
        return xai.Needs(attention=True)

    def explain(self, captured: xai.Captured) -> Relevance:
        """Multiply the row of the class token by the matrices from the last layer to the first."""
        path = captured.adapter.attention_path(self.module)
        row, class_token = readout_row(captured, path, self._fused), class_token_of(path.features)
        maps = []
        for layer, read in last_to_first(chained_layers(captured, path, self.name), path.rows):
            row = row_times_matrix(row, self._with_residual(layer, read, class_token))
            maps.append(on_grid(path.features, row))
        return Relevance(maps[-1], torch.stack(maps[::-1], 1))

    def _with_residual(self, layer: AttentionLayer, read: slice, class_token: int) -> RowBlocks:
        """Yield blocks of rows of A^."""
        for indices, attention in self._kept(layer, read, class_token):
            halves = 0.5 * attention
            halves.diagonal(indices.start, -2, -1).add_(0.5)
            yield indices, halves / halves.sum(-1, keepdim=True)

    def _kept(self, layer: AttentionLayer, read: slice, class_token: int) -> RowBlocks:
        """Yield blocks of rows of A, or all rows as one block if the smallest weights are discarded."""
        if not self.discard_ratio:
            yield from self._fused(layer, read)
            return
        fused = torch.cat([rows for _, rows in self._fused(layer, slice(0, layer.queries))], 1)  # [B,N,N]
        weights = fused.flatten(1)
        smallest = weights.topk(int(weights.shape[1] * self.discard_ratio), largest=False).indices
        kept = weights.scatter(1, smallest, 0).view_as(fused)
        kept[:, class_token, class_token] = fused[:, class_token, class_token]
        yield slice(0, layer.queries), kept

    def _fused(self, layer: AttentionLayer, read: slice) -> RowBlocks:
        """Return blocks of rows of A, with the heads fused."""
        return ((indices, fuse_heads(rows, self.heads)) for indices, rows in layer.blocks(read))
