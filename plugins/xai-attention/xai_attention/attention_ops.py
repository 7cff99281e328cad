"""Operations on attention matrices that several explainers share."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import AttentionLayer, LayerError, UnsuitableError

RowBlocks = Iterable[tuple[slice, Float[Tensor, "B rows N"]]]
"""Blocks of rows of a matrix [B,N,N], each with the slice of its row indices."""

HEAD_FUSIONS: dict[str, Callable[[Tensor, int], Tensor]] = {"mean": torch.mean, "max": torch.amax, "min": torch.amin}


def fuse_heads(weights: Float[Tensor, "B heads rows N"], heads: str) -> Float[Tensor, "B rows N"]:
    """Reduce the heads by their `mean`, `max` or `min`."""
    return HEAD_FUSIONS[heads](weights, 1)


def layer_at(layers: Sequence[AttentionLayer], index: int) -> AttentionLayer:
    """Return the layer of an index, which counts from the end if it is negative.

    Raises
    ------
    LayerError
        If the index is out of range.
    """
    if not -len(layers) <= index < len(layers):
        raise LayerError(f"attention layer {index} is out of range; the model has {len(layers)} such layers")
    return layers[index]


def require_same_tokens(captured: xai.Captured, method: str) -> Sequence[AttentionLayer]:
    """Return all attention layers, after checking that each attends globally to the same tokens.

    Raises
    ------
    UnsuitableError
        If a layer attends in windows, or if the number of tokens changes between layers.
    """
    layers = captured.attention
    tokens = layers[-1].keys
    for layer in layers:
        layer.require_global(len(captured.images), method)
        if layer.keys != tokens:
            raise UnsuitableError(
                f"{method} requires equal numbers of tokens in all layers, but this model has {layer.keys} and "
                f"{tokens}; use {layers[-1].instead}"
            )
    return layers


def readout_row(captured: xai.Captured, tokens: int) -> Float[Tensor, "B N"]:
    """Return the weights of the tokens in the head: 1 for a class token, or equal weights for averaged tokens."""
    read = captured.adapter.readout
    dtype = torch.promote_types(captured.images.dtype, torch.float32)
    row = captured.images.new_zeros((len(captured.images), tokens), dtype=dtype)
    row[:, read] = 1 / (read.stop - read.start)
    return row


def last_to_first(layers: Sequence[AttentionLayer], read: slice) -> Iterator[tuple[AttentionLayer, slice]]:
    """Iterate over the layers from the last to the first, each with the slice of rows that affect the output.

    In the last layer, only the rows that the head reads affect the output.
    """
    for layer in reversed(layers):
        yield layer, read
        read = slice(0, layer.queries)


def mean_of_rows(blocks: Iterable[tuple[slice, Float[Tensor, "B P rows N"]]], read: slice) -> Float[Tensor, "B P N"]:
    """Return the mean over the rows that the head reads."""
    return torch.stack([rows.sum(-2) for _, rows in blocks]).sum(0) / (read.stop - read.start)


def gradient_times_attention(
    layer: AttentionLayer, read: slice
) -> Iterator[tuple[slice, Float[Tensor, "B heads rows N"]]]:
    """Return blocks of rows of dy/dA * A, with y the target's score."""
    return ((indices, rows * layer.gradient_rows(indices.start, indices.stop)) for indices, rows in layer.blocks(read))


def row_times_matrix(row: Float[Tensor, "B N"], blocks: RowBlocks) -> Float[Tensor, "B N"]:
    """Multiply a row by a matrix. Blocks may be missing where the row is zero."""
    product = torch.zeros_like(row)
    for indices, rows in blocks:
        product += (row[:, None, indices] @ rows.to(row.dtype)).squeeze(1)
    return product


def on_grid(captured: xai.Captured, row: Float[Tensor, "*B N"]) -> Float[Tensor, "*B h w"]:
    """Return the values of the patches in a row, on their grid."""
    locations = captured.adapter.tokens(row.shape[-1])
    return row[..., list(locations.elements)].unflatten(-1, locations.grid)
