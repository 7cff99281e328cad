"""Charts of perturbation curves as SVG. The colors follow the theme of the page."""

from collections.abc import Sequence
from html import escape

from xai_core.web_app.curves import Curve, Curves

COLORS = 8
"""Number of line colors in the style sheet."""
_WIDTH, _HEIGHT = 420, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 42, 22, 12, 42
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)
_TITLES = {
    "deletion": ("Deletion", "lower is better"),
    "insertion": ("Insertion", "higher is better"),
}


def charts(curves: Curves, methods: Sequence[str]) -> str:
    """Return a chart for each metric. `methods` are the methods in the order of their colors."""
    return (
        f'<div class="xai-charts">{"".join(_chart(metric, lines, methods) for metric, lines in curves.items())}</div>'
    )


def _chart(metric: str, lines: Sequence[Curve], methods: Sequence[str]) -> str:
    title, better = _TITLES[metric]
    areas = {line.method: line.area for line in lines}
    legend = "".join(
        f'<li><i class="xai-line-{number % COLORS}"></i>{escape(method)}'
        f"<b>{f'{areas[method]:.3f}' if method in areas else '&hellip;'}</b></li>"
        for number, method in enumerate(methods)
    )
    paths = "".join(_path(line, methods.index(line.method)) for line in lines)
    return (
        f'<figure class="xai-chart"><h4>{title} <small>area, {better}</small></h4>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{title} curves">{_axes(metric)}{paths}</svg>'
        f"<ul>{legend}</ul></figure>"
    )


def _path(line: Curve, number: int) -> str:
    points = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in zip(line.fractions, line.scores, strict=True))
    return f'<polyline class="xai-line-{number % COLORS}" points="{points}"/>'


def _axes(metric: str) -> str:
    verb = "removed" if metric == "deletion" else "inserted"
    parts = []
    for tick in _TICKS:
        parts.append(f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{_y(tick)}" y2="{_y(tick)}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{_y(tick) + 4}" text-anchor="end">{tick:g}</text>')
        parts.append(f'<text x="{_x(tick)}" y="{_HEIGHT - _BOTTOM + 17}" text-anchor="middle">{tick:.0%}</text>')
    label = f"pixels {verb}, most salient first"
    parts.append(f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 4}" text-anchor="middle">{label}</text>')
    return f'<g class="xai-axes">{"".join(parts)}</g>'


def _x(fraction: float) -> float:
    return _LEFT + fraction * (_WIDTH - _LEFT - _RIGHT)


def _y(score: float) -> float:
    return _TOP + (1 - min(max(score, 0.0), 1.0)) * (_HEIGHT - _TOP - _BOTTOM)
