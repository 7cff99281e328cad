"""Plots of the methods' costs."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from xai_core.benchmarking.summary import MethodCost
from xai_core.report.controls import labeled
from xai_core.report.figures.styles import INK, SOFT, MethodStyle, draw_mark, name_rows, new_figure

_WIDE = 30
"""Ratio of the largest to the smallest duration above which the axis is logarithmic."""


def cost_plot(costs: Sequence[MethodCost], styles: Mapping[str, MethodStyle]) -> Figure:
    """Draw the median seconds per image of each method of a model, the fastest first, with its forward passes."""
    costs = sorted(costs, key=lambda cost: cost.seconds)
    figure, axes = new_figure(1 + 0.3 * len(costs))
    for row, cost in enumerate(costs):
        draw_mark(axes, cost.seconds, row, styles.get(cost.method, MethodStyle()))
        passes = f"{cost.forward_passes} pass{'es' if cost.forward_passes != 1 else ''}"
        axes.annotate(
            passes,
            (cost.seconds, row),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=SOFT,
        )
    if costs[0].seconds > 0 and costs[-1].seconds > _WIDE * costs[0].seconds:
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.18)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=SOFT, alpha=0.25, linewidth=0.6)
    name_rows(axes, [labeled(cost.method) for cost in costs])
    axes.set_xlabel("median seconds per image, and forward passes per image", color=INK, fontsize=9)
    return figure
