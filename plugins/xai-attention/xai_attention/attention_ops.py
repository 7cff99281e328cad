"""What attention explainers share: the layers, the row that the head reads, its products, its map."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import AttentionLayer, LayerError, OptionError, UnsuitableError

Blocks = Iterable[tuple[slice, Float[Tensor, "B rows N"]]]
"""Rows of a matrix [B,N,N], some at a time, each block with its slice of them."""

FUSIONS: dict[str, Callable[[Tensor, int], Tensor]] = {"mean": torch.mean, "max": torch.amax, "min": torch.amin}


def check_fusion(heads: str) -> str:
    """Require the name of a way to fuse heads."""
    if heads not in FUSIONS:
        raise OptionError(f"heads must be mean, max or min, not {heads!r}")
    return heads


def fuse(weights: Float[Tensor, "B heads rows N"], heads: str) -> Float[Tensor, "B rows N"]:
    """One weight of the heads'."""
    return FUSIONS[heads](weights, 1)


def chosen(layers: Sequence[AttentionLayer], index: int) -> AttentionLayer:
    """The layer of an index, which may count from the end."""
    if not -len(layers) <= index < len(layers):
        raise LayerError(f"attention layer {index} is out of range; this model has {len(layers)}")
    return layers[index]


def over_same_tokens(captured: xai.Captured, method: str) -> Sequence[AttentionLayer]:
    """All layers, each over all tokens of an image, and the same tokens in every one."""
    layers = captured.attention
    tokens = layers[-1].keys
    for layer in layers:
        layer.require_global(len(captured.images), method)
        if layer.keys != tokens:
            raise UnsuitableError(
                f"{method} needs the same tokens in every layer, this model has {layer.keys} and {tokens}; "
                f"use {layers[-1].instead}"
            )
    return layers


def read_row(captured: xai.Captured, tokens: int) -> Float[Tensor, "B N"]:
    """What the head reads of the tokens: one for the class token, or equal parts of those that it averages."""
    read = captured.adapter.readout
    dtype = torch.promote_types(captured.images.dtype, torch.float32)
    row = captured.images.new_zeros((len(captured.images), tokens), dtype=dtype)
    row[:, read] = 1 / (read.stop - read.start)
    return row


def downwards(layers: Sequence[AttentionLayer], read: slice) -> Iterator[tuple[AttentionLayer, slice]]:
    """The layers from the last to the first, with the rows that count: in the last those that the head reads."""
    for layer in reversed(layers):
        yield layer, read
        read = slice(0, layer.queries)


def mean_of_rows(blocks: Iterable[tuple[slice, Float[Tensor, "B P rows N"]]], read: slice) -> Float[Tensor, "B P N"]:
    """The mean over the rows that the head reads."""
    return torch.stack([rows.sum(-2) for _, rows in blocks]).sum(0) / (read.stop - read.start)


def weighted(layer: AttentionLayer, read: slice) -> Iterator[tuple[slice, Float[Tensor, "B heads rows N"]]]:
    """Rows of A times the gradient of the target's score with respect to them, dy/dA * A."""
    return ((part, rows * layer.gradient_rows(part.start, part.stop)) for part, rows in layer.blocks(read))


def times(row: Float[Tensor, "B N"], blocks: Blocks) -> Float[Tensor, "B N"]:
    """Multiply a row by a matrix; where a block is left out, the row is zero."""
    product = torch.zeros_like(row)
    for part, rows in blocks:
        product += (row[:, None, part] @ rows.to(row.dtype)).squeeze(1)
    return product


def on_grid(captured: xai.Captured, row: Float[Tensor, "*B N"]) -> Float[Tensor, "*B h w"]:
    """The part of a row that is about patches."""
    grid, prefix = captured.adapter.tokens(row.shape[-1])
    return row[..., prefix:].unflatten(-1, grid)
