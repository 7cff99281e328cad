"""Colors, lines and text of the figures, equal for a method in all figures of a model."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xai_core.benchmarking.comparison import MethodComparison
from xai_core.report.controls import contenders, is_control

INK, SOFT, REST = "#222226", "#6b6b73", "#b4b4ba"
WIDTH = 4.6
"""Width of a figure in inches. The text stays readable if the figure is shown on a screen of 390 pixels."""
MOST = 5
"""Maximum number of methods in color, besides the controls."""
_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9")
_CONTROLS = ("#c28a00", "#7d5a3c", "#55506e")
_DASHES = ("--", ":", "-.")


@dataclass(frozen=True)
class MethodStyle:
    """Color and line of a method in all figures.

    Attributes
    ----------
    color
        Color of the method.
    line
        Line style of matplotlib. Controls have dashed or dotted lines.
    colored
        Whether the method is in color. All others are gray.
    control
        Whether the method is a control.
    """

    color: str = REST
    line: str = "-"
    colored: bool = False
    control: bool = False


def method_styles(comparisons: Sequence[MethodComparison]) -> dict[str, MethodStyle]:
    """Return the style of each method of a model. At most five methods and the controls are in color.

    The methods in color are the first of each metric, then the second of each metric, and so on.
    """
    ranked = [[standing.method for standing in contenders(each)] for each in comparisons]
    in_turn = [method for row in itertools.zip_longest(*ranked) for method in row if method is not None]
    names = [standing.method for each in comparisons for standing in each.standings]
    styles = dict.fromkeys(names, MethodStyle())
    for method, color in zip(dict.fromkeys(in_turn), _COLORS, strict=False):
        styles[method] = MethodStyle(color, colored=True)
    controls = [method for method in styles if is_control(method)]
    marks = itertools.cycle(zip(_CONTROLS, _DASHES, strict=True))
    for method, (color, line) in zip(controls, marks, strict=False):
        styles[method] = MethodStyle(color, line, colored=True, control=True)
    return styles


def new_figure(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """Return a figure of a height in inches, with axes that have no frame at the top and on the right."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(SOFT)
    axes.tick_params(colors=INK, labelsize=9)
    return figure, axes


def draw_mark(axes: Axes, x: float, y: float, style: MethodStyle) -> None:
    """Draw the circle of a method. It is open if the method is a control."""
    fill = "white" if style.control else style.color
    axes.plot(x, y, "o", markersize=6.5, color=style.color, markerfacecolor=fill, markeredgewidth=1.6)


def name_rows(axes: Axes, labels: Sequence[str]) -> None:
    """Label the rows of axes from top to bottom."""
    axes.set_yticks(range(len(labels)), labels, parse_math=False)
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def minus(text: str) -> str:
    """Replace hyphens in a formatted number by minus signs."""
    return text.replace("-", "\N{MINUS SIGN}")
