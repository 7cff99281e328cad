"""The attention matrices of a model themselves, for people who look at them directly."""

import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai_core.errors import NoAttentionError, OptionError, RowError
from xai_core.model.adapter import ModelAdapter
from xai_core.model.attention import AttentionLayer, AttentionReader
from xai_core.model.execution import Forward, explaining, listening, without_autocast

Rows = int | slice | Sequence[int] | None
"""Query tokens by number, negative ones from the end; None is all of them."""


@dataclass(frozen=True, eq=False)
class LayerRecord:
    """The attention of one layer.

    Attributes
    ----------
    name
        The module that computes it, or its number in order of execution where that is the model itself.
    weights
        [B*windows, heads, rows, keys], float32 or better, on the model's device; each row sums to one. The windows
        of an image are next to each other.
    rows
        The numbers of the query tokens that the rows are of, in each window.
    windows
        How many parts of an image attend apart from each other; 1 where attention is global.
    grid
        The (h, w) of the image that the keys after the first `prefix` form, or None where they form none: windows,
        and keys that are no places.
    prefix
        How many keys, such as a class token, come before those of the grid.
    """

    name: str
    weights: Float[Tensor, "N heads rows keys"]
    rows: Sequence[int]
    windows: int
    grid: tuple[int, int] | None
    prefix: int

    @property
    def heads(self) -> int:
        """How many heads there are."""
        return self.weights.shape[1]


@dataclass(frozen=True, eq=False)
class AttentionRecord:
    """The attention of a model for a batch: a record for each layer, in order of execution."""

    layers: tuple[LayerRecord, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the layers."""
        return tuple(layer.name for layer in self.layers)

    @property
    def weights(self) -> tuple[Float[Tensor, "N heads rows keys"], ...]:
        """The weights of every layer."""
        return tuple(layer.weights for layer in self.layers)


def record_attention(
    model: nn.Module, forward: Forward, images: Float[Tensor, "B C H W"], rows: Rows, adapter: ModelAdapter
) -> tuple[Any, AttentionRecord]:
    """Run the model once without a graph; give its output, and the rows of its attention, read as each layer runs.

    Raises
    ------
    NoAttentionError
        Where no attention is seen.
    RowError, OptionError
        Where a layer has no such row, or `rows` is nothing that names rows.
    """
    running: list[str] = []
    layers: list[LayerRecord] = []
    modules = {module: name for name, module in model.named_modules() if any(True for _ in module.children())}

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        running.append(modules[module])

    def leave(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        running.pop()

    def found(layer: AttentionLayer) -> None:
        name = (running and running[-1]) or str(len(layers))
        taken = _numbers(rows, layer.queries, name)
        with torch.no_grad(), without_autocast(images.device):
            weights = _weights(layer, taken)
        windows = layer.batch // len(images)
        grid, prefix = _grid(layer.keys, adapter) if windows == 1 else (None, 0)
        layers.append(LayerRecord(name, weights, taken, windows, grid, prefix))

    placed = listening(dict.fromkeys(modules, enter), dict.fromkeys(modules, leave))
    with explaining(model, gradients=False), placed, AttentionReader(len(images), found):
        output = forward(model, images)
    if not layers:
        raise NoAttentionError("no attention was seen in this model's forward, so that there are no matrices to give")
    return output, AttentionRecord(tuple(layers))


def _numbers(rows: Rows, queries: int, layer: str) -> Sequence[int]:
    """The numbers of the rows meant, of a layer with so many."""
    numbers: Sequence[int]
    if rows is None or isinstance(rows, slice):
        numbers = range(queries)[rows or slice(None)]
    else:
        try:
            numbers = [*map(operator.index, rows if isinstance(rows, Iterable) else [rows])]
        except TypeError:
            raise OptionError(f"rows must be None, an int, a slice or a sequence of ints, not {rows!r}") from None
    if not numbers or not all(-queries <= number < queries for number in numbers):
        raise RowError(
            f"rows={rows!r} is out of range: attention layer {layer!r} has {queries} query tokens, "
            f"{-queries} to {queries - 1}"
        )
    return numbers if isinstance(numbers, range) else [number % queries for number in numbers]


def _weights(layer: AttentionLayer, numbers: Sequence[int]) -> Float[Tensor, "N heads rows keys"]:
    """A copy of those rows of a layer, which keeps nothing else of it alive."""
    if isinstance(numbers, range) and numbers.step == 1:
        return torch.cat([rows for _, rows in layer.blocks(slice(numbers.start, numbers.stop))], -2)
    return torch.cat([layer.rows(number, number + 1) for number in numbers], -2)


def _grid(keys: int, adapter: ModelAdapter) -> tuple[tuple[int, int] | None, int]:
    """The grid of so many keys and how many come before it, where some layer gives as many tokens or places."""
    seen = any(features.tokens == keys for features in adapter.probe.features.values())
    return adapter.tokens(keys) if seen else (None, 0)
