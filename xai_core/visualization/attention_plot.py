"""Attention of one query token: a panel for each head."""

import operator
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from jaxtyping import Float
from matplotlib.figure import Figure
from PIL import Image, ImageDraw
from torch import Tensor

from xai_core.errors import InputShapeError, LayerError, RowError, UnsuitableError
from xai_core.spec import suggest
from xai_core.visualization.colors import Style
from xai_core.visualization.figures import Cell, DisplayedFigure, grid_figure
from xai_core.visualization.overlays import overlay
from xai_core.visualization.photos import Photo, as_photo
from xai_core.visualization.placement import Placement
from xai_core.visualization.view import View, photo_of

COLUMNS = 6


class Layer(Protocol):
    """Attention of one layer. `LayerRecord` is the implementation."""

    @property
    def name(self) -> str: ...
    @property
    def weights(self) -> Float[Tensor, "N heads rows keys"]: ...
    @property
    def rows(self) -> tuple[int, ...]: ...
    @property
    def grid(self) -> tuple[int, ...] | None: ...
    @property
    def elements(self) -> tuple[int, ...]: ...


class Record(Protocol):
    """Attention of a model for a batch. `AttentionRecord` is the implementation."""

    @property
    def layers(self) -> Sequence[Layer]: ...
    @property
    def view(self) -> View | None: ...

    def __len__(self) -> int:
        """Return the number of images."""
        ...


def attention_figure(
    record: Record,
    layer: int | str,
    query: int | None,
    image: Photo | None,
    style: Style,
    new: Callable[..., Figure] = DisplayedFigure,
) -> Figure:
    """Return a figure with a panel for each head. See `DrawableAttention.plot`.

    `new` creates the figure: `DisplayedFigure` or `matplotlib.pyplot.figure`.
    """
    cells, title = attention_cells(record, layer, query, image, style)
    figure = grid_figure([cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)], new)
    figure.suptitle(title, fontsize=10)
    return figure


def attention_cells(
    record: Record, layer: int | str, query: int | None, image: Photo | None, style: Style
) -> tuple[list[Cell], str]:
    """Return a cell for each head, and the title of all cells. See `DrawableAttention.plot`."""
    if len(record) > 1:
        raise InputShapeError(f"expected the attention of one image, got {len(record)}: select one with `record[i]`")
    selected = _layer(record.layers, layer)
    token = selected.rows[0] if query is None else query
    heads = _heads(selected, token)
    photo, placement = photo_of(record.view, None if image is None else as_photo(image))
    largest = heads.flatten(1).amax(1)
    scaled = heads / largest.clamp(min=torch.finfo(heads.dtype).tiny)[:, None, None]
    cells = []
    for number, (values, peak) in enumerate(zip(scaled, largest.tolist(), strict=True)):
        picture = overlay(photo, values, placement=placement, **style)
        if token in selected.elements:
            _mark(picture, placement, selected.elements.index(token), values.shape)
        cells.append(Cell(picture, f"head {number}", f"highest attention {peak:.3f}"))
    located = "" if token in selected.elements else ", which has no location in the image"
    return cells, f"{selected.name}: attention of token {token}{located}"


def _layer(layers: Sequence[Layer], layer: int | str) -> Layer:
    """Return a layer by its index or name."""
    names = [each.name for each in layers]
    if isinstance(layer, str):
        if layer not in names:
            raise LayerError(f"no attention was recorded in layer {layer!r}; {suggest(layer, names)}")
        return layers[names.index(layer)]
    index = operator.index(layer)
    if not -len(layers) <= index < len(layers):
        raise LayerError(f"there is no layer {index}; expected indices from {-len(layers)} to {len(layers) - 1}")
    return layers[index]


def _heads(layer: Layer, token: int) -> Float[Tensor, "heads h w"]:
    """Return the attention of a query token to the cells of the grid."""
    if layer.grid is not None and len(layer.grid) == 3:
        raise UnsuitableError("attention to volumes cannot be drawn; use the weights in `record.weights`")
    if layer.grid is None:
        raise UnsuitableError(
            f"the keys of attention layer {layer.name!r} do not form a grid over the image, so its attention cannot be"
            " drawn; choose another layer"
        )
    if token not in layer.rows:
        raise RowError(
            f"the row of query token {token} was not recorded in layer {layer.name!r}; recorded rows are "
            f"{_listed(layer.rows)}: pass `rows={token}` to `Engine.attention`"
        )
    weights = layer.weights[0, :, layer.rows.index(token)]
    return weights[:, list(layer.elements)].unflatten(1, layer.grid)


def _listed(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows)) if len(rows) <= 8 else f"{rows[0]} to {rows[-1]}"


def _mark(photo: Image.Image, placement: Placement, cell: int, grid: Sequence[int]) -> None:
    """Draw a square around a cell of the grid."""
    row, column = divmod(cell, grid[1])
    width, height = (placement.right - placement.left) / grid[1], (placement.bottom - placement.top) / grid[0]
    left, top = placement.left + column * width, placement.top + row * height
    draw, line = ImageDraw.Draw(photo), max(1, max(photo.size) // 150)
    draw.rectangle((left - line, top - line, left + width + line, top + height + line), outline="#222226", width=line)
    draw.rectangle((left, top, left + width, top + height), outline="white", width=line)
