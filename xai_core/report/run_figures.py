"""The figures of a run's page, with their captions."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from PIL.Image import Image

from xai_core.benchmarking.comparison import MethodComparison
from xai_core.benchmarking.disagreement import Disagreement
from xai_core.benchmarking.mean_curves import mean_curves
from xai_core.benchmarking.saved_maps import saved_maps
from xai_core.benchmarking.summary import Summary
from xai_core.report.figures.agreement import agreement_heat_map
from xai_core.report.figures.costs import cost_plot
from xai_core.report.figures.critical_difference import critical_difference_diagram
from xai_core.report.figures.disagreement import MapRow, ScoredMap, map_grid
from xai_core.report.figures.forest import forest_plot
from xai_core.report.figures.mean_curves import mean_curve_plot
from xai_core.report.figures.pair_differences import pair_heat_map
from xai_core.report.figures.styles import MethodStyle

Photos = Callable[[int], Image | None]
"""Returns the image at an index of the dataset, or None if it cannot be read."""
_ENDS = 3
"""Number of the best methods, and of the worst methods, whose maps are shown."""


@dataclass(frozen=True, eq=False)
class PageFigure:
    """A figure of the page: the kind of figure, its caption, and a function that draws it."""

    kind: str
    caption: str
    draw: Callable[[], Figure]


def comparison_figures(
    summary: Summary, comparison: MethodComparison, styles: Mapping[str, MethodStyle]
) -> Iterator[PageFigure]:
    """Yield the figures of a model and metric that its data allows."""
    if not comparison.standings:
        return
    yield PageFigure(
        "means",
        "Mean of each method with its 95 % interval. Controls have open circles.",
        functools.partial(forest_plot, comparison, styles),
    )
    if curves := mean_curves(summary.run, comparison):
        yield PageFigure(
            "curves",
            "Mean perturbation curves, with 95 % intervals at each point. Controls have dashed or dotted lines.",
            functools.partial(mean_curve_plot, curves, styles),
        )
    if comparison.pairs:
        yield PageFigure(
            "differences",
            "Differences between methods. Blue: the method of the row is better than the method of the column. Red: it"
            " is worse. Bold number or dot: the data supports the difference.",
            functools.partial(pair_heat_map, comparison),
        )
    if comparison.critical_difference is not None:
        yield PageFigure(
            "ranks",
            "Critical-difference diagram. Bars join methods whose mean ranks do not differ significantly.",
            functools.partial(critical_difference_diagram, comparison),
        )


def model_figures(summary: Summary, model: str, styles: Mapping[str, MethodStyle]) -> Iterator[PageFigure]:
    """Yield the figures of a model: the agreement of three or more metrics, and the costs."""
    agreements = [each for each in summary.agreements if each.model == model]
    if len(agreements) > 1:
        yield PageFigure(
            "agreement",
            "Agreement of metrics: 1 if two metrics rank the methods equally, negative if the rankings are opposed.",
            functools.partial(agreement_heat_map, agreements),
        )
    if costs := [cost for cost in summary.costs if cost.model == model]:
        yield PageFigure(
            "costs",
            "Seconds and forward passes per image, the fastest method first.",
            functools.partial(cost_plot, costs, styles),
        )


def disagreement_figure(
    summary: Summary, comparison: MethodComparison, images: Sequence[Disagreement], photos: Photos
) -> PageFigure | None:
    """Return the maps of the best and the worst methods on each image, or None if the run does not save maps."""
    rows, note = [], ""
    for each in images:
        maps = saved_maps(summary.run, comparison.model, each.index)
        scores = [(method, score) for method, score in each.scores.items() if method in maps]
        shown = scores if len(scores) <= 2 * _ENDS else [*scores[:_ENDS], *scores[-_ENDS:]]
        if shown:
            scored = [ScoredMap(method, score, _middle(maps[method])) for method, score in shown]
            note = " The middle slice of each volume is shown." if maps[shown[0][0]].ndim == 3 else note
            rows.append(MapRow(each.image, photos(each.index), scored))
    caption = f"Maps on these images with their scores, the best method first.{note}"
    return PageFigure("disagreement", caption, functools.partial(map_grid, rows)) if rows else None


def _middle(values: Float[np.ndarray, "*size"]) -> Float[np.ndarray, "H W"]:
    """Return a map [H,W], or the middle slice of the map [D,H,W] of a volume."""
    return values[len(values) // 2] if values.ndim == 3 else values
