"""Figures of matplotlib: grids of images with captions, drawn without a display or shown in a window or notebook."""

import textwrap
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from xai_core.visualization.encoding import encode_figure

INK = "#222226"
CELL, LARGEST = 2.3, 4.6
"""Smallest and largest width of an image in a grid, in inches."""
WIDTH = 9.2
"""Width of a grid whose images have neither the smallest nor the largest width, in inches."""
LINE = 0.16
"""Height of a line of text in a grid, in inches."""
_LETTERS = 30
_GAP = 0.08
"""Gap on each side of an image with its texts, in inches."""


class DisplayedFigure(Figure):
    """A figure that notebooks display although pyplot does not know it."""

    def _repr_png_(self) -> bytes:
        return encode_figure(self, dpi=100)


class Cell(NamedTuple):
    """An image of a grid, with the text above and below it."""

    image: Image.Image
    title: str = ""
    caption: str = ""


def grid_figure(rows: Sequence[Sequence[Cell]], new: Callable[..., Figure] = DisplayedFigure) -> Figure:
    """Return a figure of images in rows, each with its title above and its caption below.

    Parameters
    ----------
    rows
        The cells of each row.
    new
        Function that creates the figure, such as `matplotlib.pyplot.figure`.
    """
    columns = max(map(len, rows))
    shape = max(cell.image.height / cell.image.width for row in rows for cell in row)
    lines = max(_lines(cell) for row in rows for cell in row)
    width = min(max(CELL, WIDTH / columns), LARGEST)
    height = width * shape + LINE * lines + 2 * _GAP
    figure = new(figsize=(columns * width, len(rows) * height), layout="constrained")
    engine = figure.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(h_pad=_GAP, w_pad=_GAP)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for row, cells in zip(axes, rows, strict=True):
        for ax, cell in zip(row, cells, strict=False):
            draw_cell(ax, cell)
        for ax in row[len(cells) :]:
            ax.set_axis_off()
    return figure


def draw_cell(ax: Axes, cell: Cell) -> None:
    """Draw an image with its title and caption into axes."""
    ax.imshow(np.asarray(cell.image), interpolation="antialiased")
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.set_title(wrapped(cell.title), fontsize=9, color=INK)
    ax.set_xlabel(wrapped(cell.caption), fontsize=8, color=INK)


def wrapped(text: str, letters: int = _LETTERS) -> str:
    """Break long lines of a text, and escape the dollar signs that would start a formula in matplotlib."""
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, letters) or [""]]
    return "\n".join(lines).replace("$", r"\$")


def show_figure(draw: Callable[[Callable[..., Figure]], Figure]) -> None:
    """Show a figure in a notebook or in a window. `draw` receives the function that creates the figure."""
    import matplotlib.pyplot as plt

    draw(plt.figure)
    plt.show()


def _lines(cell: Cell) -> int:
    return sum(wrapped(text).count("\n") + 1 for text in (cell.title, cell.caption) if text)
