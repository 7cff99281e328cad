"""Plots of curves, and sheets of pictures, drawn by matplotlib without a display or global state."""

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import ImageOps

from xai_core.report.results import Result, Scored

STYLES = ("-", "--", ":", "-.")
COLUMNS = 9
"""Of a sheet, at most."""
CELL, GAP, DPI = (288, 340), 6, 120
"""Of a sheet: a picture with its caption, and what is left free around it, in pixels, and how many make an inch."""
INK = "#222226"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of lines, after Okabe and Ito, which also the color-blind tell apart."""


def plot(result: Result) -> bytes:
    """Plot the curves of one image as a PNG: a panel per metric, a line per method."""
    scores = result.explained[0].scores if result.explained else {}
    metrics = [metric for metric, score in scores.items() if score.curve]
    size = (1.6 + 3.9 * max(1, len(metrics)), max(3, 0.4 + 0.17 * len(result.explained)))
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(1, max(1, len(metrics)), sharey=True, squeeze=False, gridspec_kw={"wspace": 0.08})[0]
    for metric, panel in zip(metrics, panels, strict=False):
        _draw(panel, [(one.method, one.scores[metric]) for one in result.explained])
        better = "higher" if scores[metric].higher_is_better else "lower"
        panel.set_title(f"{metric.capitalize()} ({better} area is better)", color=INK, fontsize=9)
    lines, labels = panels[0].get_legend_handles_labels()
    figure.legend(lines, labels, loc="outside right center", frameon=False, labelcolor=INK, fontsize=8)
    panels[0].set_ylim(bottom=0)
    panels[0].set_ylabel(f"probability of {_short(result.predicted.name)}", color=INK, fontsize=8)
    return _png(figure, dpi=160)


def sheet(results: Sequence[Result]) -> bytes:
    """Lay out all photos, each before its overlays, as a PNG."""
    most = 1 + max(len(result.explained) for result in results)
    each = math.ceil(most / COLUMNS)  # rows of a photo
    columns = math.ceil(most / each)
    rows = each * len(results)
    figure = Figure(figsize=(columns * CELL[0] / DPI, rows * CELL[1] / DPI))
    for number, result in enumerate(results):
        target = result.predicted
        shown = [(result.photo, f"{_short(target.name)}, {target.probability:.2f}")]
        shown += [(one.overlay, _caption(one.method, one.scores)) for one in result.explained]
        for place, (image, caption) in enumerate(shown, number * each * columns):
            row, column = divmod(place, columns)
            left, bottom = column * CELL[0], (rows - 1 - row) * CELL[1]
            within = ImageOps.contain(image, (CELL[0] - 2 * GAP, CELL[0] - 2 * GAP))
            figure.figimage(np.asarray(within), left + (CELL[0] - within.width) // 2, bottom + GAP)
            middle, above = left + CELL[0] / 2, bottom + 2 * GAP + within.height
            figure.text(middle / DPI, above / DPI, caption, transform=figure.dpi_scale_trans, ha="center", fontsize=8)
    return _png(figure, dpi=DPI)


def _draw(panel: Axes, lines: Sequence[tuple[str, Scored]]) -> None:
    for number, (method, score) in enumerate(lines):
        assert score.curve is not None
        color = COLOURS[number % len(COLOURS)]
        style = STYLES[number // len(COLOURS) % len(STYLES)]
        panel.plot(score.curve.fractions, score.curve.scores, style, color=color, linewidth=1.6, label=method)
    panel.set(xlim=(0, 1), facecolor="none")
    panel.set_xlabel("share of pixels changed, most salient first", color=INK, fontsize=8)
    panel.tick_params(colors=INK, labelsize=8)
    panel.grid(color=INK, alpha=0.15, linewidth=0.6)
    for side, spine in panel.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(INK)


def _caption(method: str, scores: Mapping[str, Scored]) -> str:
    return f"{method}\n" + "  ".join(f"{metric} {score.value:.3f}" for metric, score in scores.items())


def _short(name: str, length: int = 24) -> str:
    shown = name if len(name) <= length else name[: length - 1] + "…"
    return shown.replace("$", r"\$")  # which would begin a formula


def _png(figure: Figure, dpi: int) -> bytes:
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
