"""Images on which methods disagree, with the maps of the best and the worst methods."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from PIL import Image

from xai_core.report.figures.styles import INK, SOFT, minus
from xai_core.visualization.colors import SEQUENTIAL, limit_of
from xai_core.visualization.figures import wrapped

_CELL = 1.25


@dataclass(frozen=True, eq=False)
class ScoredMap:
    """A map [H,W] of a method, with its score."""

    method: str
    score: float
    values: Float[np.ndarray, "H W"]


@dataclass(frozen=True, eq=False)
class MapRow:
    """An image with maps of several methods, the best first. The photo is None if the dataset cannot be opened."""

    image: str
    photo: Image.Image | None
    maps: Sequence[ScoredMap]


def map_grid(rows: Sequence[MapRow]) -> Figure:
    """Draw a row for each image: the image, and the maps with the scores of their methods."""
    columns = max(len(row.maps) for row in rows) + 1
    figure = Figure(figsize=(_CELL * columns, 1.36 * _CELL * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for cells, row in zip(grid, rows, strict=True):
        if row.photo is None:
            cells[0].text(0.5, 0.5, wrapped(row.image, 16), ha="center", va="center", fontsize=8, color=SOFT)
        else:
            cells[0].imshow(np.asarray(row.photo))
            cells[0].set_title(wrapped(row.image, 18), fontsize=8, color=INK)
        for axes, scored in zip(cells[1:], row.maps, strict=False):
            values = scored.values.astype(np.float32)
            lowest = min(float(values.min()), 0)
            axes.imshow(values, cmap=SEQUENTIAL, vmin=lowest, vmax=limit_of(values))
            caption = f"{wrapped(scored.method, 18)}\n{minus(f'{scored.score:.4f}')}"
            axes.set_title(caption, fontsize=8, color=INK)
    return figure
