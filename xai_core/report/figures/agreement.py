"""Heat maps of the agreement between metrics."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from xai_core.benchmarking.comparison import Agreement
from xai_core.report.figures.styles import INK, REST, WIDTH, minus


def agreement_heat_map(agreements: Sequence[Agreement]) -> Figure:
    """Draw Kendall's tau between the rankings of every two metrics of a model. Unknown values are empty."""
    metrics = [*dict.fromkeys(metric for each in agreements for metric in each.metrics)]
    taus = np.full((len(metrics),) * 2, np.nan)
    for each in agreements:
        first, second = map(metrics.index, each.metrics)
        taus[first, second] = taus[second, first] = each.tau
    figure = Figure(figsize=(WIDTH, 1 + 0.44 * min(len(metrics), 12)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(taus, cmap="PuOr", vmin=-1.25, vmax=1.25, aspect="auto")
    for (row, column), tau in np.ndenumerate(taus):
        if not np.isnan(tau):
            color = "white" if abs(tau) > 0.6 else INK
            axes.text(column, row, minus(f"{tau:+.2f}"), ha="center", va="center", fontsize=8, color=color)
    axes.set_yticks(range(len(metrics)), metrics, parse_math=False)
    axes.set_xticks(range(len(metrics)), metrics, parse_math=False, rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0, colors=INK, labelsize=9)
    axes.spines[:].set_color(REST)
    axes.set_xlabel("Kendall's tau between the rankings of the methods", color=INK, fontsize=9)
    return figure
