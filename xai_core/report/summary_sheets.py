"""A run's summary as tables: standings, pairs, agreement, costs, and what failed."""

from collections.abc import Iterator

from xai_core.benchmark.statistics import Comparison, Estimate
from xai_core.benchmark.summary import Summary, in_words
from xai_core.report.sheets import Sheet

_NUMBERS = frozenset({"mean", "95 % interval", "rank", "mean rank", "failed", "difference", "p (Holm)", "tau", "p"})


def summary_sheets(summary: Summary, pairs: bool = False, costs: bool = False) -> list[Sheet]:
    """All tables: with every pair of methods, and with what maps cost, where these are wanted.

    But for the costs, the same run gives the same text, however it was interrupted.
    """
    return [
        *(_standings(comparison) for comparison in summary.comparisons),
        *(_pairs(comparison) for comparison in summary.comparisons if pairs and comparison.pairs),
        *_agreements(summary),
        *([_costs(summary)] if costs and summary.costs else []),
        *_failures(summary),
    ]


def standings_sheet(summary: Summary) -> Sheet:
    """Every model, metric and method in one long table, with numbers in full."""
    columns = ("model", "metric", "method", "mean", "low", "high", "rank", "mean_rank", "images", "failed")
    rows = [
        (
            *(comparison.model, comparison.metric, one.method),
            *map(repr, (one.estimate.mean, one.estimate.low, one.estimate.high, one.rank)),
            *map(repr, (comparison.mean_ranks[one.method], comparison.images, one.failed)),
        )
        for comparison in summary.comparisons
        for one in comparison.standings
    ]
    return Sheet("Standings", columns, rows)


def _standings(comparison: Comparison) -> Sheet:
    direction = "higher" if comparison.higher_is_better else "lower"
    rows = [
        (
            one.method,
            f"{one.estimate.mean:.4f}",
            interval(one.estimate),
            f"{one.rank:g}",
            f"{comparison.mean_ranks[one.method]:.2f}",
            str(one.failed),
        )
        for one in comparison.standings
    ]
    below = in_words(comparison)
    if comparison.friedman is not None and comparison.critical_difference is not None:
        below.append(
            f"Friedman's test that all are alike: p = {p_value(comparison.friedman)}. Mean ranks that differ by"
            f" {comparison.critical_difference:.2f} or more differ at 5 % (Nemenyi)."
        )
    below += [f"`{method}` has no score: {error}" for method, error in comparison.absent.items()]
    return Sheet(
        f"{comparison.model}: {comparison.metric} ({direction} is better), {comparison.images} images",
        ("method", "mean", "95 % interval", "rank", "mean rank", "failed"),
        rows,
        _NUMBERS,
        below,
    )


def _pairs(comparison: Comparison) -> Sheet:
    rows = [
        (
            pair.better,
            pair.worse,
            f"{pair.difference.mean:+.4f}",
            f"{pair.difference.low:+.4f} to {pair.difference.high:+.4f}",
            p_value(pair.p),
            "yes" if pair.supported else "no",
        )
        for pair in comparison.pairs
    ]
    return Sheet(
        f"{comparison.model}: {comparison.metric}, pairs of methods",
        ("better", "worse", "difference", "95 % interval", "p (Holm)", "supported"),
        rows,
        _NUMBERS,
    )


def _agreements(summary: Summary) -> Iterator[Sheet]:
    if summary.agreements:
        rows = [(one.model, *one.metrics, f"{one.tau:+.2f}", p_value(one.p)) for one in summary.agreements]
        yield Sheet(
            "Agreement of metrics",
            ("model", "metric", "and", "tau", "p"),
            rows,
            _NUMBERS,
            ["Kendall's tau between the rankings of methods: 1 the same, -1 the reverse, 0 unrelated."],
        )


def _costs(summary: Summary) -> Sheet:
    rows = [
        (
            one.model,
            one.method,
            str(one.forwards),
            f"{one.seconds:.4f}",
            "" if one.memory is None else f"{one.memory / 2**20:.0f}",
        )
        for one in summary.costs
    ]
    return Sheet(
        "Costs of an image",
        ("model", "method", "forwards", "seconds", "MiB of a batch"),
        rows,
        frozenset({"forwards", "seconds", "MiB of a batch"}),
        ["Seconds are medians, with the pass that all methods share counted for each."],
    )


def _failures(summary: Summary) -> Iterator[Sheet]:
    if summary.errors:
        rows = [(str(count), error) for error, count in summary.errors.items()]
        yield Sheet("Rows with an error", ("rows", "error"), rows, frozenset({"rows"}))
    left_out = [
        (subject.model, name, reason)
        for subject in summary.run.manifest.subjects
        for name, reason in subject.left_out.items()
    ] + [("", name, reason) for name, reason in summary.run.manifest.left_out.items()]
    if left_out:
        yield Sheet("Left out of all", ("model", "name", "reason"), left_out)
    unfinished = summary.images - summary.finished
    said = [f"{unfinished} of {summary.images} images are still to do."] * bool(unfinished) + [*summary.notes]
    if said:
        yield Sheet("Notes", (), (), below=said)


def interval(estimate: Estimate) -> str:
    """An interval of scores."""
    return f"{estimate.low:.4f} to {estimate.high:.4f}"


def p_value(p: float) -> str:
    """A p value, to two digits, or as below a thousandth."""
    return f"{p:.2g}" if p >= 0.001 else "< 0.001"
