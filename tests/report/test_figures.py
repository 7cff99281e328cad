"""Figures of a run show the numbers, names and marks."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from support.comparisons import compared
from xai_core.benchmarking.comparison import Agreement
from xai_core.benchmarking.mean_curves import MeanCurve
from xai_core.benchmarking.summary import MethodCost
from xai_core.report.figures.agreement import agreement_heat_map
from xai_core.report.figures.costs import cost_plot
from xai_core.report.figures.forest import forest_plot
from xai_core.report.figures.mean_curves import mean_curve_plot
from xai_core.report.figures.pair_differences import pair_heat_map
from xai_core.report.figures.styles import REST, method_styles


def names(figure: Figure) -> list[str]:
    """The names of the rows, from top to bottom."""
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def numbers(figure: Figure) -> dict[tuple[int, int], tuple[str, bool]]:
    """The text of each cell by row and column, and whether it is bold."""
    texts = figure.axes[0].texts
    return {
        (int(text.get_position()[1]), int(text.get_position()[0])): (text.get_text(), text.get_weight() == "bold")
        for text in texts
    }


def test_a_forest_plot_shows_means_and_intervals() -> None:
    comparison = compared({"a": 3, "b$x$": 2, "random": 1})
    figure = forest_plot(comparison, method_styles([comparison]))
    assert names(figure) == ["a", "b$x$", "random (control)"]
    lines = figure.axes[0].get_lines()
    for standing, interval, mean in zip(comparison.standings, lines[::2], lines[1::2], strict=True):
        assert [*np.asarray(interval.get_xdata())] == [standing.estimate.low, standing.estimate.high]
        assert [*np.asarray(mean.get_xdata())] == [standing.estimate.mean]
    assert [to_hex(str(mean.get_markerfacecolor())) for mean in lines[1::2]][2] == "#ffffff"


def test_differences_are_row_minus_column_and_bold_if_supported() -> None:
    comparison = compared({"a": 3, "b": 2, "c": 2.001})
    cells = numbers(pair_heat_map(comparison))
    order = [standing.method for standing in comparison.standings]
    assert len(cells) == 6
    for pair in comparison.pairs:
        better, worse = order.index(pair.better), order.index(pair.worse)
        text, bold = cells[better, worse]
        assert float(text) == pytest.approx(pair.difference.mean, abs=0.06)
        assert bold == cells[worse, better][1] == pair.supported
        assert cells[worse, better][0] == text.replace("+", "\N{MINUS SIGN}")
    assert {bold for _, bold in cells.values()} == {True, False}


def test_differences_of_many_methods_are_dots() -> None:
    cells = numbers(pair_heat_map(compared({f"m{i}": i for i in range(10)})))
    assert {*cells.values()} == {("•", True)}


def test_lower_scores_are_better_if_the_metric_is_reversed() -> None:
    """The colors depend on the direction of the metric, and the numbers do not."""
    for higher_is_better in (True, False):
        comparison = compared({"a": 3, "b": 1}, higher_is_better=higher_is_better)
        [image] = pair_heat_map(comparison).axes[0].get_images()
        shown = np.asarray(image.get_array())
        assert shown[0, 1] == -shown[1, 0] == 1  # the first row is better


def test_agreement_is_symmetric() -> None:
    taus = {("x", "y"): 0.5, ("x", "z"): -1.0, ("y", "z"): 0.0}
    figure = agreement_heat_map([Agreement("model", metrics, tau, 0.1) for metrics, tau in taus.items()])
    assert names(figure) == ["x", "y", "z"]
    cells = numbers(figure)
    assert cells[0, 1] == cells[1, 0] == ("+0.50", False)
    assert cells[0, 2] == cells[2, 0] == ("\N{MINUS SIGN}1.00", False)
    assert len(cells) == 6


@pytest.mark.parametrize(("slowest", "scale"), [(0.2, "linear"), (40.0, "log")])
def test_costs_are_sorted(slowest: float, scale: str) -> None:
    costs = [MethodCost("model", "a", 97, slowest, None), MethodCost("model", "random", 1, 0.1, None)]
    figure = cost_plot(costs, {})
    assert names(figure) == ["random (control)", "a"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["1 pass", "97 passes"]
    assert figure.axes[0].get_xscale() == scale


def test_gray_curves_share_an_entry_of_the_legend() -> None:
    comparison = compared({f"m{i}": i for i in range(7)} | {"random": 0.5})
    points = np.array([0, 0.5, 1])
    curves = [MeanCurve(each.method, points, points, points, points) for each in comparison.standings]
    figure = mean_curve_plot(curves, method_styles([comparison]))
    [legend] = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert labels == ["m6", "m5", "m4", "m3", "m2", "random (control)", "2 other methods"]
    assert sum(line.get_color() == REST for line in figure.axes[0].get_lines()) == 3
    assert len(figure.axes[0].collections) == 6  # bands of the methods in color
