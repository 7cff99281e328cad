"""The attention matrices of a model, as results for users."""

import operator
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai_core.batched import Batched
from xai_core.errors import NoAttentionError, OptionError, RowError, UnsuitableError
from xai_core.model.adapter import ModelAdapter
from xai_core.model.attention import AttentionLayer
from xai_core.model.attention_call import AttentionCall, require_same_calls
from xai_core.model.attention_reader import AttentionReader
from xai_core.model.execution import Forward, explaining, without_autocast
from xai_core.model.user_forward import batch_indices
from xai_core.visualization.drawable_attention import DrawableAttention
from xai_core.visualization.view import View

Rows = int | slice | Iterable[int] | None
"""Indices of query tokens. Negative indices count from the end, and None selects all tokens."""


@dataclass(frozen=True, eq=False, repr=False)
class LayerRecord(Batched):
    """Attention of one layer for a batch.

    `len(layer)` is the number of images B. `layer[i]` and `layer[i:j]` select images, and `layer.to(device)` moves the
    weights.

    Attributes
    ----------
    name
        Name of the module that computes the attention. If it is the model itself, the index in order of execution.
    weights
        [B*windows, heads, rows, keys], float32 or float64, on the model's device. Each row sums to one. The windows of
        an image are adjacent.
    rows
        Indices of the query tokens of the rows, within each window.
    windows
        The number of attention windows per image (1 for global attention).
    grid
        The (h, w) of the keys. None if the keys do not form a grid over the image.
    elements
        The index of the key of each cell of the grid, in row-major order. Other keys, such as a class token, have no
        location in the image.
    """

    name: str
    weights: Float[Tensor, "N heads rows keys"]
    rows: tuple[int, ...]
    windows: int
    grid: tuple[int, ...] | None
    elements: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of images B."""
        return len(self.weights) // self.windows

    @property
    def heads(self) -> int:
        """The number of heads."""
        return self.weights.shape[1]

    def _select(self, images: slice) -> "LayerRecord":
        per_image = self.weights.unflatten(0, (-1, self.windows))
        return replace(self, weights=per_image[images].flatten(0, 1))


@dataclass(frozen=True, eq=False, repr=False)
class AttentionRecord(DrawableAttention):
    """Attention of a model for a batch: one record for each layer, in order of execution.

    `len(record)` is the number of images B. `record[i]` and `record[i:j]` select images, and `record.to(device)` moves
    all weights. Records can be pickled and saved with `torch.save`.

    Attributes
    ----------
    layers
        The record of each layer.
    view
        The images and predictions of the batch, for plots. It is not saved.
    """

    layers: tuple[LayerRecord, ...]
    view: View | None = None

    def __len__(self) -> int:
        """Return the number of images B."""
        return len(self.layers[0])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the layers."""
        return tuple(layer.name for layer in self.layers)

    @property
    def weights(self) -> tuple[Float[Tensor, "N heads rows keys"], ...]:
        """Attention weights of each layer."""
        return tuple(layer.weights for layer in self.layers)


def record_attention(
    model: nn.Module,
    forward: Forward,
    images: Float[Tensor, "B C *size"],
    rows: Rows,
    adapter: ModelAdapter,
    module: str = "",
) -> tuple[Any, AttentionRecord]:
    """Run the model once without gradients. Return its output and the requested attention rows.

    Attention that does not depend on the images is left out. If `module` is given, only attention in it is returned.

    Raises
    ------
    NoAttentionError
        If no such attention was observed.
    UnsuitableError
        If the model runs different attention layers for this batch than for one image.
    RowError, OptionError
        If `rows` is out of range for a layer, or has the wrong type.
    """
    calls = adapter.probe.attention.calls
    wanted = {number for number, call in enumerate(calls) if call.from_images and call.is_in(module)}
    if not wanted:
        where = f"in module {module!r} of this model" if module else "in this model"
        names = dict.fromkeys(repr(call.module) for call in calls if call.from_images and call.module)
        expected = ", ".join([*names][:4])
        raise NoAttentionError(
            f"no attention that depends on the images was observed {where}; expected "
            + (
                f"a module that contains attention, such as {expected}"
                if expected
                else "a transformer or another model with attention"
            )
        )
    seen: list[AttentionLayer] = []
    layers: list[LayerRecord] = []

    def on_layer(layer: AttentionLayer) -> None:
        number = len(seen)
        seen.append(layer)
        require_same_calls(calls, seen, is_complete=False)
        if number not in wanted:
            return
        name = calls[number].module or str(number)
        indices = _row_indices(rows, layer.queries, name)
        with torch.no_grad(), without_autocast(images.device):
            weights = _weights(layer, indices)
        windows = layer.batch // len(images)
        grid, elements = _grid(layer.keys, calls[number], adapter) if windows == 1 else (None, ())
        layers.append(LayerRecord(name, weights, tuple(indices), windows, grid, elements))

    reader = AttentionReader(len(images), on_layer, layouts=adapter.probe.attention.layouts(len(images)))
    with explaining(model, gradients=False), reader:
        output = forward(model, images, batch_indices(images))
    require_same_calls(calls, seen, is_complete=True)
    return output, AttentionRecord(tuple(layers))


def _row_indices(rows: Rows, queries: int, layer: str) -> Sequence[int]:
    """Return the row indices that `rows` selects in a layer with this number of queries."""
    indices: Sequence[int]
    if rows is None or isinstance(rows, slice):
        indices = range(queries)[rows or slice(None)]
    else:
        try:
            indices = [*map(operator.index, rows if isinstance(rows, Iterable) else [rows])]
        except TypeError:
            raise OptionError(f"expected rows as None, an int, a slice or a sequence of ints, got {rows!r}") from None
    if not indices or not all(-queries <= index < queries for index in indices):
        raise RowError(
            f"rows={rows!r} is out of range: attention layer {layer!r} has {queries} query tokens; "
            f"expected indices from {-queries} to {queries - 1}"
        )
    return indices if isinstance(indices, range) else [index % queries for index in indices]


def _weights(layer: AttentionLayer, indices: Sequence[int]) -> Float[Tensor, "N heads rows keys"]:
    """Return a copy of some rows, which does not keep the rest of the layer in memory."""
    if isinstance(indices, range) and indices.step == 1:
        return torch.cat([rows for _, rows in layer.blocks(slice(indices.start, indices.stop))], -2)
    return torch.cat([layer.rows(index, index + 1) for index in indices], -2)


def _grid(keys: int, call: AttentionCall, adapter: ModelAdapter) -> tuple[tuple[int, ...] | None, tuple[int, ...]]:
    """Return the grid of the keys and the key of each cell, if they are tokens that can be located."""
    try:
        locations = call.key_locations or adapter.tokens(keys)
    except UnsuitableError:
        return None, ()
    return locations.grid, locations.elements
