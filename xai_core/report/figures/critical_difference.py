"""Critical-difference diagrams: methods on an axis of mean ranks, with bars that join methods that do not differ."""

from matplotlib.figure import Figure

from xai_core.benchmarking.comparison import MethodComparison
from xai_core.report.controls import labeled
from xai_core.report.figures.styles import INK, SOFT

AXIS = 2.8
"""Width of the axis of ranks in inches, without the names on both sides."""


def critical_difference_diagram(comparison: MethodComparison) -> Figure:
    """Draw a critical-difference diagram.

    Bars join methods whose mean ranks differ by less than the critical difference of Nemenyi's test.

    Source: Demsar, "Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 2006.
    """
    assert comparison.critical_difference is not None
    methods = sorted(comparison.mean_ranks, key=lambda method: comparison.mean_ranks[method])
    ranks = [comparison.mean_ranks[method] for method in methods]
    count, half = len(methods), (len(methods) + 1) // 2
    bars = _groups(ranks, comparison.critical_difference)
    top, bottom = 1.6, 0.6 + 0.28 * len(bars)
    figure = Figure((AXIS, 0.9 + 0.28 * (half + len(bars))))
    axes = figure.add_axes((0, 0, 1, 1))  # names are outside the axes, so their length does not matter
    axes.set(xlim=(0.5, count + 0.5), ylim=(-(bottom + half), top))
    axes.axis("off")
    axes.plot([1, count], [0, 0], color=INK, linewidth=1)
    for tick in range(1, count + 1, 1 + count // 16):
        axes.plot([tick, tick], [0, 0.2], color=INK, linewidth=1)
        axes.text(tick, 0.3, str(tick), ha="center", va="bottom", fontsize=8)
    axes.plot([1, 1 + comparison.critical_difference], [1.15, 1.15], color=INK, linewidth=2)
    axes.text(1, 1.25, f"critical difference {comparison.critical_difference:.2f}", va="bottom", fontsize=8)
    for i, (method, rank) in enumerate(zip(methods, ranks, strict=True)):
        on_left = i < half
        label = -(bottom + (i if on_left else count - 1 - i))
        end = 0.9 if on_left else count + 0.1
        axes.plot([rank, rank, end], [0, label, label], color=SOFT, linewidth=0.8)
        axes.text(
            end,
            label,
            f" {labeled(method)} {rank:.2f} ",
            ha="right" if on_left else "left",
            va="center",
            fontsize=8,
            parse_math=False,
        )
    for number, (first, last) in enumerate(bars):
        height = -(0.35 + 0.28 * number)
        axes.plot([ranks[first] - 0.05, ranks[last] + 0.05], [height, height], color="#d55e00", linewidth=3)
    direction = "higher" if comparison.higher_is_better else "lower"
    axes.set_title(
        f"{comparison.model}: mean rank by {comparison.metric}\n({direction} is better), {comparison.images} images",
        fontsize=9,
        color=INK,
        parse_math=False,
    )
    return figure


def _groups(ranks: list[float], difference: float) -> list[tuple[int, int]]:
    """Return the first and last index of each longest group of ascending ranks within the difference."""
    groups: list[tuple[int, int]] = []
    for first in range(len(ranks)):
        last = max(i for i in range(first, len(ranks)) if ranks[i] - ranks[first] < difference)
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups
