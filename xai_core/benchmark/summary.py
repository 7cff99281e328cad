"""What a run comes to: its rows gathered, compared, and said in words."""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xai_core.benchmark.statistics import Agreement, Comparison, Pair, agreement, compare
from xai_core.benchmark.store import Run


@dataclass(frozen=True)
class Spent:
    """What a method's maps cost: forwards an image, the median of seconds, and the most bytes, where known."""

    model: str
    method: str
    forwards: int
    seconds: float
    memory: int | None


@dataclass(frozen=True)
class Summary:
    """A run, summed up.

    Attributes
    ----------
    finished, images
        How many of the images are done, over all models, of how many.
    comparisons
        One for each model and metric, in the run's order.
    agreements
        Between each two metrics of a model.
    costs
        Of each model and method.
    errors
        How many rows have each error, the most frequent first.
    notes
        What was said on the way.
    """

    run: Run
    finished: int
    images: int
    comparisons: Sequence[Comparison]
    agreements: Sequence[Agreement]
    costs: Sequence[Spent]
    errors: Mapping[str, int]
    notes: Sequence[str]


def summarise(run: Run) -> Summary:
    """Sum up what a run's folder holds, finished or not."""
    manifest = run.manifest
    gathered: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    errors: dict[tuple[str, str], dict[str, Counter[str]]] = {}
    costs: dict[tuple[str, str], dict[int, tuple[int, float, int | None]]] = {}
    counted: Counter[str] = Counter()
    for row in run.rows().to_pylist():
        key = row["model"], row["metric"]
        if row["error"] is None:
            gathered.setdefault(key, {}).setdefault(row["method"], {})[row["index"]] = row["score"]
            costs.setdefault((row["model"], row["method"]), {})[row["index"]] = (
                row["forwards"],
                row["seconds"],
                row["memory"],
            )
        else:
            errors.setdefault(key, {}).setdefault(row["method"], Counter())[row["error"]] += 1
            counted[row["error"]] += 1
    comparisons = []
    for subject in manifest.subjects:
        for metric, higher_is_better in manifest.metrics.items():
            scores = gathered.get((subject.model, metric), {})
            failing = errors.get((subject.model, metric), {})
            comparisons.append(
                compare(
                    subject.model,
                    metric,
                    {method: scores[method] for method in subject.methods if method in scores},
                    {method: found.total() for method, found in failing.items()},
                    {method: found.most_common(1)[0][0] for method, found in failing.items() if method not in scores},
                    higher_is_better,
                )
            )
    agreements = [
        found
        for one, other in itertools.combinations(comparisons, 2)
        if one.model == other.model and (found := agreement(one, other))
    ]
    return Summary(
        run,
        sum(shard.stop - shard.start for shard in run.finished),
        manifest.images * len(manifest.subjects),
        comparisons,
        agreements,
        [_spent(*key, [*of.values()]) for key, of in costs.items()],
        dict(counted.most_common()),
        run.notes(),
    )


def _spent(model: str, method: str, each: Sequence[tuple[int, float, int | None]]) -> Spent:
    seconds = sorted(taken for _, taken, _ in each)
    memory = [held for *_, held in each if held is not None]
    return Spent(model, method, each[0][0], seconds[len(seconds) // 2], max(memory) if memory else None)


def in_words(comparison: Comparison) -> list[str]:
    """What the data supports at a metric, and what not, a sentence each."""
    if not comparison.standings:
        return [f"No method has a score at {comparison.metric}."]
    if len(comparison.standings) == 1:
        return [f"There is one method with a score at {comparison.metric}, and nothing to compare it with."]
    sentences = []
    for standing in comparison.standings:
        beaten = [pair.worse for pair in comparison.pairs if pair.better == standing.method and pair.supported]
        if beaten:
            sentences.append(f"`{standing.method}` is better than {_listed(beaten)}.")
    undecided = [pair for pair in comparison.pairs if not pair.supported]
    if undecided:
        sentences.append(f"Not decided by these {comparison.images} images: {_undecided(undecided)}.")
    return sentences


def _listed(methods: Sequence[str]) -> str:
    quoted = [f"`{method}`" for method in methods]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _undecided(pairs: Sequence[Pair]) -> str:
    by_better: dict[str, list[str]] = {}
    for pair in pairs:
        by_better.setdefault(pair.better, []).append(pair.worse)
    return "; ".join(f"`{better}` or {_listed(others)}" for better, others in by_better.items())
