"""Heat maps of the differences between methods."""

import math

import numpy as np
from matplotlib.figure import Figure

from xai_core.benchmarking.comparison import MethodComparison
from xai_core.report.controls import labeled
from xai_core.report.figures.styles import INK, REST, WIDTH, minus

_MOST_NUMBERS = 9
"""Maximum number of methods for which the cells contain numbers."""


def pair_heat_map(comparison: MethodComparison) -> Figure:
    """Draw the difference between the means of every two methods: the row's mean minus the column's mean.

    Blue cells mark rows that are better. Supported differences are bold, or have a dot if there are too many methods
    for numbers.
    """
    methods = [standing.method for standing in comparison.standings]
    position = {method: index for index, method in enumerate(methods)}
    differences, supported = np.zeros((len(methods),) * 2), np.zeros((len(methods),) * 2, bool)
    for pair in comparison.pairs:
        better, worse = position[pair.better], position[pair.worse]
        differences[better, worse], differences[worse, better] = pair.difference.mean, -pair.difference.mean
        supported[better, worse] = supported[worse, better] = pair.supported
    sign = 1 if comparison.higher_is_better else -1
    limit = float(np.abs(differences).max()) or 1.0
    decimals = max(0, 1 - math.floor(math.log10(limit)))
    figure = Figure(figsize=(WIDTH, 1 + 0.44 * min(len(methods), 12)), layout="constrained")
    axes = figure.subplots()
    axes.imshow(sign * differences / limit, cmap="RdBu", vmin=-1.25, vmax=1.25, aspect="auto")
    for (row, column), difference in np.ndenumerate(differences):
        if row != column:
            bold = bool(supported[row, column])
            number = minus(f"{difference:+.{decimals}f}")
            axes.text(
                column,
                row,
                number if len(methods) <= _MOST_NUMBERS else "•" if bold else "",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if abs(difference) > 0.7 * limit else INK,
                fontweight="bold" if bold else "normal",
            )
    axes.set_yticks(range(len(methods)), [labeled(method) for method in methods], parse_math=False)
    axes.set_xticks(range(len(methods)), methods, parse_math=False, rotation=40, ha="right", rotation_mode="anchor")
    axes.tick_params(length=0, colors=INK, labelsize=9)
    axes.spines[:].set_color(REST)
    label = f"difference of mean {comparison.metric}, row minus column"
    axes.set_xlabel(label, color=INK, fontsize=9, parse_math=False)
    return figure
