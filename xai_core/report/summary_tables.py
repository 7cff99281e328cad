"""Tables of a run's summary: standings, pairs of methods, agreement of metrics, costs and errors."""

from collections.abc import Iterator, Sequence

from xai_core.benchmarking.comparison import ExcludedMethod, MethodComparison
from xai_core.benchmarking.conclusions import conclusions
from xai_core.benchmarking.statistics import Estimate
from xai_core.benchmarking.summary import Summary
from xai_core.report.controls import best_of, labeled
from xai_core.report.tables import TextTable

_NUMBERS = frozenset(
    {"mean", "95 % interval", "rank", "mean rank", "failed", "difference", "rank-biserial", "p (Holm)", "tau", "p"}
)


def summary_tables(summary: Summary, pairs: bool = False, costs: bool = False) -> list[TextTable]:
    """Return all tables of a summary.

    Except for the costs, an interrupted and resumed run has the same tables as an uninterrupted run.

    Parameters
    ----------
    summary
        The summary.
    pairs
        Whether to include every pair of methods.
    costs
        Whether to include the costs of the maps.
    """
    return [
        *(method_table(comparison) for comparison in summary.comparisons),
        *(pair_table(comparison) for comparison in summary.comparisons if pairs and comparison.pairs),
        *agreement_tables(summary),
        *([cost_table(summary)] if costs and summary.costs else []),
        *error_tables(summary),
    ]


def standings_table(summary: Summary) -> TextTable:
    """Return one table of every model, metric and method, with unrounded numbers. Excluded methods have empty cells."""
    columns = ("model", "metric", "method", "mean", "low", "high", "rank", "mean_rank", "images", "failed")
    rows = []
    for comparison in summary.comparisons:
        header = comparison.model, comparison.metric
        for standing in comparison.standings:
            estimate = standing.estimate
            numbers = estimate.mean, estimate.low, estimate.high, standing.rank
            counts = comparison.mean_ranks[standing.method], comparison.images, standing.failed
            cells = ("" if number is None else repr(number) for number in (*numbers, *counts))
            rows.append((*header, standing.method, *cells))
        rows += [(*header, method, *[""] * 6, repr(each.failed)) for method, each in comparison.excluded.items()]
    return TextTable("Standings", columns, rows)


def method_table(comparison: MethodComparison) -> TextTable:
    """Return the means, intervals and ranks of the compared methods. The best are bold, and controls are labeled."""
    direction = "higher" if comparison.higher_is_better else "lower"
    rows = [
        (
            labeled(standing.method),
            f"{standing.estimate.mean:.4f}",
            interval(standing.estimate),
            f"{standing.rank:g}",
            f"{comparison.mean_ranks[standing.method]:.2f}",
            str(standing.failed),
        )
        for standing in comparison.standings
    ]
    below = conclusions(comparison)
    if comparison.friedman is not None and comparison.critical_difference is not None:
        below.append(
            f"Friedman test (hypothesis: all methods are equal): p {_relation(comparison.friedman)}. Mean ranks that"
            f" differ by at least {comparison.critical_difference:.2f} differ significantly at 5 % (Nemenyi)."
        )
    below += [_exclusion(method, each) for method, each in comparison.excluded.items() if each.error]
    images = (
        comparison.scored if comparison.images == comparison.scored else f"{comparison.images} of {comparison.scored}"
    )
    return TextTable(
        f"{comparison.model}: {comparison.metric} ({direction} is better), {images} images",
        ("method", "mean", "95 % interval", "rank", "mean rank", "failed"),
        rows,
        _NUMBERS,
        below,
        _bold(comparison),
    )


def _bold(comparison: MethodComparison) -> frozenset[tuple[int, int]]:
    """Return the cells with the names and the means of the best methods."""
    best = best_of(comparison)
    rows = [row for row, standing in enumerate(comparison.standings) if standing.method in best]
    return frozenset((row, column) for row in rows for column in (0, 1))


def _exclusion(method: str, excluded: ExcludedMethod) -> str:
    if not excluded.scored:
        return f"`{method}` has no score: {excluded.error}"
    return (
        f"`{method}` is excluded: {excluded.scored} scored and {excluded.failed} failed images. Most frequent error:"
        f" {excluded.error}"
    )


def pair_table(comparison: MethodComparison) -> TextTable:
    """Return the differences between every two methods, with their tests."""
    rows = [
        (
            labeled(pair.better),
            labeled(pair.worse),
            f"{pair.difference.mean:+.4f}",
            interval(pair.difference, "+"),
            f"{pair.rank_biserial:+.2f}",
            p_value(pair.p),
            "yes" if pair.supported else "no",
        )
        for pair in comparison.pairs
    ]
    return TextTable(
        f"{comparison.model}: {comparison.metric}, pairs of methods",
        ("better", "worse", "difference", "95 % interval", "rank-biserial", "p (Holm)", "supported"),
        rows,
        _NUMBERS,
    )


def agreement_tables(summary: Summary) -> Iterator[TextTable]:
    """Yield a table of the agreement between metrics, if the run has several metrics."""
    if summary.agreements:
        rows = [(each.model, *each.metrics, f"{each.tau:+.2f}", p_value(each.p)) for each in summary.agreements]
        yield TextTable(
            "Agreement of metrics",
            ("model", "metric", "other metric", "tau", "p"),
            rows,
            _NUMBERS,
            ["Kendall's tau between two rankings of the methods: 1 if equal, -1 if reversed, 0 if unrelated."],
        )


def cost_table(summary: Summary) -> TextTable:
    """Return the forward passes, seconds and memory of each method."""
    rows = [
        (
            cost.model,
            labeled(cost.method),
            str(cost.forward_passes),
            f"{cost.seconds:.4f}",
            "" if cost.memory is None else f"{cost.memory / 2**20:.0f}",
        )
        for cost in summary.costs
    ]
    return TextTable(
        "Costs per image",
        ("model", "method", "forward passes", "seconds", "MiB per batch"),
        rows,
        frozenset({"forward passes", "seconds", "MiB per batch"}),
        ["Seconds are medians. The costs of each method include the shared pass."],
    )


def error_tables(summary: Summary) -> Iterator[TextTable]:
    """Yield tables of errors, skipped methods and notes, if there are any."""
    if summary.errors:
        rows = [(str(count), error) for error, count in summary.errors.items()]
        yield TextTable("Rows with errors", ("rows", "error"), rows, frozenset({"rows"}))
    if summary.skipped:
        yield TextTable("Skipped methods and metrics", ("model", "names", "reason"), _by_reason(summary.skipped))
    unfinished = summary.images - summary.finished
    notes = [f"{unfinished} of {summary.images} images are not finished."] if unfinished else []
    if notes or summary.notes:
        yield TextTable("Notes", (), (), below=[*notes, *summary.notes])


def _by_reason(skipped: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Join the names that a model skips for the same reason."""
    names: dict[tuple[str, str], list[str]] = {}
    for model, name, reason in skipped:
        names.setdefault((model, reason), []).append(name)
    return [(model, ", ".join(joined), reason) for (model, reason), joined in names.items()]


def interval(estimate: Estimate, sign: str = "-") -> str:
    """Format an interval, or return an empty string if there is none. `sign="+"` shows the sign of all numbers."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:{sign}.4f} to {estimate.high:{sign}.4f}"


def p_value(p: float) -> str:
    """Format a p-value with two significant digits, or as `< 0.001`."""
    return f"{p:.2g}" if p >= 0.001 else "< 0.001"


def _relation(p: float) -> str:
    return f"= {p_value(p)}" if p >= 0.001 else p_value(p)
