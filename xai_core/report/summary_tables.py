"""A run's summary as tables: standings, pairs, agreement, costs, and what failed."""

from collections.abc import Iterator, Sequence

from xai_core.benchmarking.statistics import Absent, Comparison, Estimate
from xai_core.benchmarking.summary import Summary, in_words
from xai_core.report.tables import Sheet

_NUMBERS = frozenset(
    {"mean", "95 % interval", "rank", "mean rank", "failed", "difference", "ranks", "p (Holm)", "tau", "p"}
)


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
    """Every model, metric and method in one long table, with numbers in full; empty ones of what is not compared."""
    columns = ("model", "metric", "method", "mean", "low", "high", "rank", "mean_rank", "images", "failed")
    rows = []
    for comparison in summary.comparisons:
        about = comparison.model, comparison.metric
        for one in comparison.standings:
            numbers = one.estimate.mean, one.estimate.low, one.estimate.high, one.rank
            counts = comparison.mean_ranks[one.method], comparison.images, one.failed
            rows.append((*about, one.method, *("" if each is None else repr(each) for each in (*numbers, *counts))))
        rows += [(*about, method, *[""] * 6, repr(one.failed)) for method, one in comparison.absent.items()]
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
            f"Friedman's test that all are alike: p {_relation(comparison.friedman)}. Mean ranks that differ by"
            f" {comparison.critical_difference:.2f} or more differ at 5 % (Nemenyi)."
        )
    below += [_absence(method, one) for method, one in comparison.absent.items() if one.error]
    images = (
        comparison.scored if comparison.images == comparison.scored else f"{comparison.images} of {comparison.scored}"
    )
    return Sheet(
        f"{comparison.model}: {comparison.metric} ({direction} is better), {images} images",
        ("method", "mean", "95 % interval", "rank", "mean rank", "failed"),
        rows,
        _NUMBERS,
        below,
    )


def _absence(method: str, absent: Absent) -> str:
    if not absent.scored:
        return f"`{method}` has no score: {absent.error}"
    return f"`{method}` has {absent.scored} scores, and failed on {absent.failed} images, most often: {absent.error}"


def _pairs(comparison: Comparison) -> Sheet:
    rows = [
        (
            pair.better,
            pair.worse,
            f"{pair.difference.mean:+.4f}",
            interval(pair.difference, "+"),
            f"{pair.ranks:+.2f}",
            p_value(pair.p),
            "yes" if pair.supported else "no",
        )
        for pair in comparison.pairs
    ]
    return Sheet(
        f"{comparison.model}: {comparison.metric}, pairs of methods",
        ("better", "worse", "difference", "95 % interval", "ranks", "p (Holm)", "supported"),
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
            str(one.forward_passes),
            f"{one.seconds:.4f}",
            "" if one.memory is None else f"{one.memory / 2**20:.0f}",
        )
        for one in summary.costs
    ]
    return Sheet(
        "Costs of an image",
        ("model", "method", "forward_passes", "seconds", "MiB of a batch"),
        rows,
        frozenset({"forward_passes", "seconds", "MiB of a batch"}),
        ["Seconds are medians, with the pass that all methods share counted for each."],
    )


def _failures(summary: Summary) -> Iterator[Sheet]:
    if summary.errors:
        rows = [(str(count), error) for error, count in summary.errors.items()]
        yield Sheet("Rows with an error", ("rows", "error"), rows, frozenset({"rows"}))
    if summary.left_out:
        yield Sheet("Left out of all", ("model", "names", "reason"), _by_reason(summary.left_out))
    unfinished = summary.images - summary.finished
    said = [f"{unfinished} of {summary.images} images are still to do."] * bool(unfinished) + [*summary.notes]
    if said:
        yield Sheet("Notes", (), (), below=said)


def _by_reason(left_out: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """What is left out of a model for one reason, together."""
    names: dict[tuple[str, str], list[str]] = {}
    for model, name, reason in left_out:
        names.setdefault((model, reason), []).append(name)
    return [(model, ", ".join(together), reason) for (model, reason), together in names.items()]


def interval(estimate: Estimate, sign: str = "-") -> str:
    """An interval of scores, or nothing where there is none; `+` for signs of positive numbers too."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{estimate.low:{sign}.4f} to {estimate.high:{sign}.4f}"


def p_value(p: float) -> str:
    """A p value, to two digits, or as below a thousandth."""
    return f"{p:.2g}" if p >= 0.001 else "< 0.001"


def _relation(p: float) -> str:
    return f"= {p_value(p)}" if p >= 0.001 else p_value(p)
