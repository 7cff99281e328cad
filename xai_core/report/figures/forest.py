"""Forest plots: the mean of each method with its interval."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from xai_core.benchmarking.comparison import MethodComparison
from xai_core.report.controls import labeled
from xai_core.report.figures.styles import INK, SOFT, MethodStyle, draw_mark, name_rows, new_figure


def forest_plot(comparison: MethodComparison, styles: Mapping[str, MethodStyle]) -> Figure:
    """Draw the mean of each method with its 95 % interval, the best method at the top. Controls have open circles."""
    standings = comparison.standings
    figure, axes = new_figure(1 + 0.3 * len(standings))
    for row, standing in enumerate(standings):
        style, estimate = styles[standing.method], standing.estimate
        if estimate.low is not None and estimate.high is not None:
            axes.plot([estimate.low, estimate.high], [row, row], color=style.color, linewidth=2, solid_capstyle="butt")
        draw_mark(axes, estimate.mean, row, style)
    name_rows(axes, [labeled(standing.method) for standing in standings])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color=SOFT, alpha=0.25, linewidth=0.6)
    axes.margins(x=0.04)
    direction = "higher" if comparison.higher_is_better else "lower"
    label = f"mean {comparison.metric} with 95 % interval ({direction} is better)"
    axes.set_xlabel(label, color=INK, fontsize=9, parse_math=False)
    return figure
