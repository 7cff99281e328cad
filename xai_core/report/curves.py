"""Figures of perturbation curves."""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from xai_core.report.results import ImageResult, MapScore

STYLES = ("-", "--", ":", "-.")
INK = "#222226"
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#332288", "#882255", "#808000")
"""Colors of lines. The first six are from Okabe and Ito, which color-blind readers can distinguish."""
_PANEL, _LEFT, _GAP, _LEGEND, _TOP, _BOTTOM = 3.5, 0.65, 0.3, 2.2, 0.35, 0.5
"""Widths and heights in inches. A fixed layout takes half the time of a computed one."""


def plot_curves(result: ImageResult) -> bytes:
    """Plot the perturbation curves of one image as a PNG, with a panel per metric and a line per method."""
    scores = result.explanations[0].scores if result.explanations else {}
    metrics = [metric for metric, score in scores.items() if score.curve]
    count = max(1, len(metrics))
    width = _LEFT + count * (_PANEL + _GAP) + _LEGEND
    height = max(3.2, 0.4 + 0.17 * len(result.explanations))
    figure = Figure(figsize=(width, height))
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    right = 1 - (_LEGEND + _GAP) / width
    figure.subplots_adjust(_LEFT / width, _BOTTOM / height, right, 1 - _TOP / height, _GAP / _PANEL)
    for metric, panel in zip(metrics, panels, strict=False):
        _draw(panel, [(explanation.method, explanation.scores[metric]) for explanation in result.explanations])
        better = "higher" if scores[metric].higher_is_better else "lower"
        panel.set_title(f"{metric.capitalize()} ({better} area is better)", color=INK, fontsize=9)
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        lines,
        labels,
        loc="center left",
        bbox_to_anchor=(right + 0.12 / width, 0.5),
        frameon=False,
        labelcolor=INK,
        fontsize=8,
    )
    explained = "the class" if result.predicted is None else _short(result.predicted.name)
    is_text = result.predicted is not None and result.predicted.id is None
    panels[0].set_ylim(bottom=None if is_text else 0)
    panels[0].set_ylabel(f"{'score' if is_text else 'probability'} of {explained}", color=INK, fontsize=8)
    return _png(figure, dpi=130)


def _draw(panel: Axes, lines: Sequence[tuple[str, MapScore]]) -> None:
    for number, (method, score) in enumerate(lines):
        assert score.curve is not None
        color, style = line_style(number)
        panel.plot(score.curve.fractions, score.curve.scores, style, color=color, linewidth=1.4, label=method)
    panel.set(xlim=(0, 1), facecolor="none")
    panel.set_xlabel("fraction of pixels replaced, most salient first", color=INK, fontsize=8)
    panel.tick_params(colors=INK, labelsize=8)
    panel.grid(color=INK, alpha=0.15, linewidth=0.6)
    for side, spine in panel.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)


def line_style(number: int) -> tuple[str, str]:
    """Return the color and the dashes of a line. The styles of 36 lines are distinct."""
    return COLORS[number % len(COLORS)], STYLES[number // len(COLORS) % len(STYLES)]


def _short(name: str, length: int = 24) -> str:
    shown = name if len(name) <= length else name[: length - 1] + "…"
    return shown.replace("$", r"\$")  # a dollar sign would start a formula


def _png(figure: Figure, dpi: int) -> bytes:
    FigureCanvasAgg(figure)  # draws without a display and without matplotlib's global state
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
