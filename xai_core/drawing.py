"""A grid of images by methods, with classes, probabilities and scores."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from torch import Tensor

from xai_core.errors import InputShapeError, InputTypeError
from xai_core.inputs import SINGLE, accept_named
from xai_core.metric import MetricResult
from xai_core.normalization import is_constant
from xai_core.saliency import Saliency
from xai_core.targets.target import BoundTarget
from xai_core.visualization.view import View

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from xai_core.visualization.colors import Style
    from xai_core.visualization.figures import Cell
    from xai_core.visualization.panels import Photos

COLUMNS = 9
"""Largest number of images in a row. Further methods continue in the next row."""

Scores = Mapping[str, MetricResult] | Mapping[str, Mapping[str, MetricResult]]


def draw(
    images: "Photos",
    maps: Saliency | Mapping[str, Saliency | Tensor],
    scores: Scores | None = None,
    **style: "Unpack[Style]",
) -> "Figure":
    """Draw images in rows and methods in columns, as a figure of matplotlib.

    The first column shows the image, the explained class and its probability. `figure.savefig("maps.pdf")` saves the
    figure. `show` displays it.

    Parameters
    ----------
    images
        The batch that was explained, [B,C,H,W] or [B,C,D,H,W], or None if the maps come from `Engine.explain`. One
        photo for each image, as a PIL image or a path, is also accepted. The maps are then placed on the part of the
        photo that the model received.
    maps
        The result of `Engine.explain`, one `Saliency`, or a dict of tensors [B,H,W] in [0,1]. For volumes, the
        tensors are [B,D,H,W].
    scores
        The result of `Engine.evaluate` for these maps. The scores are written below the maps.
    **style
        `cmap`, `alpha` and `contours`. See `Saliency.overlay`.

    Raises
    ------
    InputTypeError, InputShapeError
        If the maps are of another type or shape.
    UnsuitableError
        If the images are neither passed nor known, or the model's part of a photo is not known.
    """
    from xai_core.visualization.figures import grid_figure

    return grid_figure(cells_of(images, maps, scores, style))


def show(
    images: "Photos",
    maps: Saliency | Mapping[str, Saliency | Tensor],
    scores: Scores | None = None,
    **style: "Unpack[Style]",
) -> None:
    """Show the figure of `draw` in a notebook or in a window."""
    from xai_core.visualization.figures import grid_figure, show_figure

    rows = cells_of(images, maps, scores, style)
    show_figure(lambda new: grid_figure(rows, new))


def cells_of(
    images: "Photos", maps: Saliency | Mapping[str, Saliency | Tensor], scores: Scores | None, style: "Style"
) -> "list[list[Cell]]":
    """Return the cells of the grid: one row or more for each image and target."""
    from xai_core.visualization.figures import Cell
    from xai_core.visualization.panels import panels_of

    batch = images if isinstance(images, Tensor) and images.ndim in (4, 5) else None
    named = {name: _saliency(of_method, batch, name) for name, of_method in accept_named(maps).items()}
    if not named:
        raise InputTypeError("there are no maps to draw; expected the result of `explain`")
    panels = {name: panels_of(saliency, None if batch is not None else images) for name, saliency in named.items()}
    if len({*map(len, panels.values())}) > 1:
        raise InputShapeError("the maps are of different numbers of images or targets; expected maps of one batch")
    captions = {name: _captions(saliency, _scores_of(scores, name)) for name, saliency in named.items()}
    rows: list[list[Cell]] = []
    for number, first in enumerate(next(iter(panels.values()))):
        cells = [Cell(first.photo, "", first.caption)]
        for name, of_method in panels.items():
            cells.append(Cell(of_method[number].overlay(**style), name, captions[name][number]))
        rows += [cells[start : start + COLUMNS] for start in range(0, len(cells), COLUMNS)]
    return rows


def _saliency(maps: Saliency | Tensor, images: Tensor | None, name: str) -> Saliency:
    """Return maps with a view of the images, if they are known."""
    if isinstance(maps, Tensor):
        if maps.ndim not in (3, 4) or not maps.is_floating_point():
            raise InputShapeError(
                f"expected map {name!r} as a floating-point tensor [B,H,W] or [B,D,H,W], got {list(maps.shape)}"
            )
        maps = Saliency(maps.float(), maps.float(), is_constant(maps), BoundTarget(None, len(maps)))
    if images is None:
        return maps
    if len(images) != len(maps):
        raise InputShapeError(f"expected an image for each of {len(maps)} maps {name!r}, got {len(images)}")
    return replace(maps, view=View(images) if maps.view is None else replace(maps.view, images=images))


def _scores_of(scores: Scores | None, name: str) -> Mapping[str, MetricResult]:
    """Return the result of each metric for a method."""
    if scores is None:
        return {}
    of_method: Any = scores if name == SINGLE else scores.get(name, {})
    return of_method


def _captions(saliency: Saliency, scores: Mapping[str, MetricResult]) -> list[str]:
    """Return the text below each map: its scores, and whether it is constant."""
    captions = ["constant map" if constant else "" for constant in saliency.constant.flatten().tolist()]
    for metric, result in scores.items():
        values = result.values.flatten().tolist()
        captions = [f"{text}\n{metric} {value:.3f}".strip() for text, value in zip(captions, values, strict=True)]
    return captions
