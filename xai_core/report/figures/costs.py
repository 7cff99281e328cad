"""Bars of the methods' costs."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from xai_core.benchmarking.summary import MethodCost
from xai_core.report.controls import labeled
from xai_core.report.figures.styles import INK, SOFT, MethodStyle, name_rows, new_figure

_WIDE = 30
"""Ratio of the largest to the smallest duration above which the axis is logarithmic."""


def cost_bars(costs: Sequence[MethodCost], styles: Mapping[str, MethodStyle]) -> Figure:
    """Draw the median seconds per image of each method of a model, the fastest first, with its forward passes."""
    costs = sorted(costs, key=lambda cost: cost.seconds)
    figure, axes = new_figure(1 + 0.3 * len(costs))
    for row, cost in enumerate(costs):
        style = styles.get(cost.method, MethodStyle())
        fill = "white" if style.control else style.color
        axes.barh(row, cost.seconds, 0.62, color=fill, edgecolor=style.color, linewidth=1.2)
        passes = f" {cost.forward_passes} pass{'es' if cost.forward_passes != 1 else ''}"
        axes.text(cost.seconds, row, passes, va="center", fontsize=8, color=SOFT)
    if costs[0].seconds > 0 and costs[-1].seconds > _WIDE * costs[0].seconds:
        axes.set_xscale("log")
    axes.margins(x=0.16)
    name_rows(axes, [labeled(cost.method) for cost in costs])
    axes.set_xlabel("median seconds per image, and forward passes per image", color=INK, fontsize=9)
    return figure
