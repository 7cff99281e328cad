"""Attention rollout."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.errors import OptionError, UnsuitableError


class Rollout(xai.Explainer):
    """Attention rollout: how much of each patch reaches the class token through all layers.

    A^_l = rownorm(0.5 A_l + 0.5 I), with A_l the heads fused; R = A^_L ... A^_1 (section 4, "attention
    rollout"); the map is the class token's row of R. That row alone is computed, as a chain of
    vector-matrix products from the last layer down, in blocks of rows. Models without a class token start
    from the mean over the tokens that their head averages.

    Source: Abnar and Zuidema, "Quantifying Attention Flow in Transformers", ACL 2020. The fusion by maximum
    or minimum and the discarding of the smallest weights are of Gildenblat's vit-explain (2020), here for
    each image on its own, and with rows normalised after discarding.

    Parameters
    ----------
    heads
        How heads are fused: `mean`, `max` or `min`.
    discard_ratio
        The share of each layer's fused weights, the smallest, that is set to zero; in [0, 1). The class
        token's own weight on itself is kept, as there.
    """

    name = "rollout"

    def __init__(self, heads: str = "mean", discard_ratio: float = 0.0) -> None:
        if heads not in ("mean", "max", "min"):
            raise OptionError(f"heads must be mean, max or min, not {heads!r}")
        if not 0 <= discard_ratio < 1:
            raise OptionError(f"discard_ratio must be at least 0 and below 1, got {discard_ratio}")
        self.heads = heads
        self.discard_ratio = discard_ratio

    def needs(self, adapter: xai.ModelAdapter) -> xai.Capture:
        """The attention of every layer, in a model whose head reads tokens."""
        _ = adapter.readout
        return xai.Capture(attention=True)

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B h w"]:
        """Multiply the class token's row through the layers, last to first."""
        layers, batch = captured.attention, len(captured.images)
        tokens = layers[-1].keys
        for layer in layers:
            layer.require_global(batch, "rollout")
            if layer.keys != tokens:
                raise UnsuitableError(
                    f"rollout needs the same tokens in every layer, this model has {layer.keys} and {tokens}; "
                    "use head-attention, or a method for feature maps, such as grad-cam"
                )
        read = captured.adapter.readout
        dtype = torch.promote_types(captured.images.dtype, torch.float32)
        row = captured.images.new_zeros((batch, tokens), dtype=dtype)  # [B,N]
        row[:, read] = 1 / (read.stop - read.start)
        for layer in reversed(layers):
            row = self._through(layer, row, read)
            read = slice(0, tokens)
        grid, prefix = captured.adapter.tokens(tokens)
        return row[:, prefix:].unflatten(1, grid)

    def _through(self, layer: xai.AttentionLayer, row: Float[Tensor, "B N"], read: slice) -> Float[Tensor, "B N"]:
        """Multiply row A^, where only the rows `read` of A^ have a weight that is not zero."""
        passed = torch.zeros_like(row)
        for part, fused in self._fused(layer, read):
            halves = 0.5 * fused
            halves.diagonal(part.start, -2, -1).add_(0.5)
            halves /= halves.sum(-1, keepdim=True)
            passed += (row[:, None, part] @ halves).squeeze(1)
        return passed

    def _fused(self, layer: xai.AttentionLayer, read: slice) -> Iterator[tuple[slice, Float[Tensor, "B rows N"]]]:
        """Rows of A with the heads fused; all of A at once only where its smallest weights are discarded."""
        if not self.discard_ratio:
            yield from ((part, self._fuse(rows)) for part, rows in layer.blocks(read))
            return
        fused = torch.cat([self._fuse(rows) for _, rows in layer.blocks()], 1)  # [B,N,N]
        weights = fused.flatten(1)
        smallest = weights.topk(int(weights.shape[1] * self.discard_ratio), largest=False).indices
        kept = weights[:, :1].clone()
        yield (
            slice(0, layer.queries),
            weights.scatter(1, smallest, 0).index_copy(1, smallest.new_zeros(1), kept).view_as(fused),
        )

    def _fuse(self, rows: Float[Tensor, "B heads rows N"]) -> Float[Tensor, "B rows N"]:
        match self.heads:
            case "mean":
                return rows.mean(1)
            case "max":
                return rows.amax(1)
            case _:
                return rows.amin(1)
