"""Mean perturbation curves of methods."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from xai_core.benchmarking.mean_curves import MeanCurve
from xai_core.report.controls import labeled
from xai_core.report.figures.styles import INK, SOFT, MethodStyle, new_figure


def mean_curve_plot(curves: Sequence[MeanCurve], styles: Mapping[str, MethodStyle]) -> Figure:
    """Draw the mean curve of each method. Methods in color have a band, their 95 % interval at each point."""
    legend_rows = (sum(styles[curve.method].colored for curve in curves) + 2) // 2
    figure, axes = new_figure(3.2 + 0.2 * legend_rows)
    for curve in sorted(curves, key=lambda curve: styles[curve.method].colored):
        style = styles[curve.method]
        label = labeled(curve.method) if style.colored else None
        width = 1.8 if style.colored else 0.8
        axes.plot(curve.fractions, curve.means, style.line, color=style.color, linewidth=width, label=label)
        if style.colored and curve.low is not None and curve.high is not None:
            axes.fill_between(curve.fractions, curve.low, curve.high, color=style.color, alpha=0.12, linewidth=0)
    gray = sum(not styles[curve.method].colored for curve in curves)
    if gray:
        axes.plot([], [], color=MethodStyle().color, linewidth=0.8, label=f"{gray} other methods")
    axes.grid(color=SOFT, alpha=0.2, linewidth=0.6)
    axes.margins(x=0)
    axes.set_xlabel("fraction of pixels perturbed", color=INK, fontsize=9)
    axes.set_ylabel("mean value of the curve", color=INK, fontsize=9)
    legend = figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9, labelcolor=INK)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure
