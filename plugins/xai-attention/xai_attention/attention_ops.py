"""Operations on attention matrices that several explainers share."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import AttentionLayer, AttentionPath, Features, Locations

RowBlocks = Iterable[tuple[slice, Float[Tensor, "B rows N"]]]
"""Blocks of rows of a matrix [B,N,N], each with the slice of its row indices."""

HEAD_FUSIONS: dict[str, Callable[[Tensor, int], Tensor]] = {"mean": torch.mean, "max": torch.amax, "min": torch.amin}


def fuse_heads(weights: Float[Tensor, "B heads rows N"], heads: str) -> Float[Tensor, "B rows N"]:
    """Return the `mean`, `max` or `min` over the attention heads."""
    return HEAD_FUSIONS[heads](weights, 1)


def chained_layers(
    captured: xai.Captured, path: AttentionPath, method: str, stages: Iterable[Sequence[int]] | None = None
) -> Sequence[AttentionLayer]:
    """Return the attention layers of a path without its pooling, or of some stages, with parallel layers as one.

    Raises
    ------
    UnsuitableError
        If the layers cannot be chained, or a layer attends in windows.
    """
    layers = [
        captured.attention_layer(*stage) for stage in (path.chain(method, pooled=True) if stages is None else stages)
    ]
    for layer in layers:
        layer.require_global(len(captured.images), method)
    return layers


def readout_row(
    captured: xai.Captured, path: AttentionPath, fused: Callable[[AttentionLayer, slice], RowBlocks] | None = None
) -> Float[Tensor, "B N"]:
    """Return the weight of each token in the classification head.

    It is 1 for a class token, and equal for averaged tokens. If one query pools the tokens by attention, it is this
    attention. The function `fused` combines its heads, and only methods for such models need it.
    """
    dtype = torch.promote_types(captured.images.dtype, torch.float32)
    if path.pooling is not None and fused is not None:
        [(_, row)] = fused(captured.attention_layer(path.pooling), slice(0, 1))
        return row[:, 0].to(dtype)
    row = torch.tensor(path.readout, dtype=dtype, device=captured.images.device)
    return row.expand(len(captured.images), -1)


def last_to_first(layers: Sequence[AttentionLayer], read: slice) -> Iterator[tuple[AttentionLayer, slice]]:
    """Iterate over the layers from the last to the first, each with the slice of rows that affect the output.

    In the last layer, only the rows of the tokens that the classification head reads affect the output.
    """
    for layer in reversed(layers):
        yield layer, read
        read = slice(0, layer.queries)


def read_rows(
    blocks: Iterable[tuple[slice, Float[Tensor, "B P rows N"]]], readout: Sequence[float]
) -> Float[Tensor, "B P N"]:
    """Return the mean of the rows, weighted by the weight of each token in the classification head."""
    sums = []
    for indices, rows in blocks:
        weights = torch.tensor(readout[indices], dtype=rows.dtype, device=rows.device)
        sums.append((weights[:, None] * rows).sum(-2))
    return torch.stack(sums).sum(0)


def gradient_times_attention(
    layer: AttentionLayer, read: slice
) -> Iterator[tuple[slice, Float[Tensor, "B heads rows N"]]]:
    """Return blocks of rows of dy/dA * A, with y the target's score."""
    return ((indices, rows * layer.gradient_rows(indices.start, indices.stop)) for indices, rows in layer.blocks(read))


def row_times_matrix(row: Float[Tensor, "B N"], blocks: RowBlocks) -> Float[Tensor, "B N"]:
    """Return the product of a row and a matrix. Blocks of the matrix may be missing if the row is zero there."""
    product = torch.zeros_like(row)
    for indices, rows in blocks:
        product += (row[:, None, indices] @ rows.to(row.dtype)).squeeze(1)
    return product


def class_token_of(features: Features) -> int:
    """Return the index of the first token without a location in the image, such as a class token, or 0."""
    return next((token for token in range(features.count) if token not in features.elements), 0)


def on_grid(locations: Features | Locations, row: Float[Tensor, "*B N"]) -> Float[Tensor, "*B h w"]:
    """Return the values of the patches in a row of tokens, on their grid."""
    return row[..., list(locations.elements)].unflatten(-1, locations.grid)
