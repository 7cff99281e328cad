"""What a run comes to: its rows gathered, compared, and said in words."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from xai_core.benchmarking.manifest import ModelEntry
from xai_core.benchmarking.statistics import Agreement, Comparison, Pair, agreement, compare
from xai_core.benchmarking.store import Run
from xai_core.benchmarking.tables import Tables, read


@dataclass(frozen=True)
class Spent:
    """What a method's maps cost: forwards an image, the median of seconds, and the most bytes, where known."""

    model: str
    method: str
    forward_passes: int
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

    @property
    def left_out(self) -> list[tuple[str, str, str]]:
        """What `all` would have had: the model that a method is not for, or nothing for a metric; its name; why."""
        manifest = self.run.manifest
        methods = [
            (subject.model, name, reason) for subject in manifest.subjects for name, reason in subject.left_out.items()
        ]
        return methods + [("", name, reason) for name, reason in manifest.left_out.items()]


def summarize(run: Run) -> Summary:
    """Sum up what a run's folder holds, finished or not."""
    manifest, tables = run.manifest, read(run)
    comparisons = compare([scores for one in tables for scores in one.scores])
    agreements = [
        found
        for one, other in itertools.combinations(comparisons, 2)
        if one.model == other.model and (found := agreement(one, other))
    ]
    errors = sum((found for one in tables for scores in one.scores for found in scores.errors.values()), Counter())
    return Summary(
        run,
        sum(shard.stop - shard.start for shard in run.finished),
        manifest.images * len(manifest.subjects),
        comparisons,
        agreements,
        [spent for subject, one in zip(manifest.subjects, tables, strict=True) for spent in _spent(subject, one)],
        dict(errors.most_common()),
        run.notes(),
    )


def _spent(subject: ModelEntry, tables: Tables) -> Iterator[Spent]:
    for place, method in enumerate(subject.methods):
        forwards, seconds, memory = (
            of[~np.isnan(of)]
            for of in (each[:, place] for each in (tables.forward_passes, tables.seconds, tables.memory))
        )
        if len(seconds):
            held = int(memory.max()) if len(memory) else None
            yield Spent(subject.model, method, int(forwards[0]), float(np.median(seconds)), held)


def in_words(comparison: Comparison) -> list[str]:
    """What the data supports at a metric, and what not, a sentence each."""
    if not comparison.standings:
        return [_nothing_compared(comparison)]
    if len(comparison.standings) == 1:
        return [
            f"Only `{comparison.standings[0].method}` is left at {comparison.metric}, with nothing to compare it with."
        ]
    methods = [standing.method for standing in comparison.standings]
    alike: dict[tuple[str, ...], list[str]] = {}
    for method in methods:
        beaten = tuple(pair.worse for pair in comparison.pairs if pair.better == method and pair.supported)
        alike.setdefault(beaten, []).append(method)
    sentences = [_better(better, beaten, methods) for beaten, better in alike.items() if beaten]
    undecided = [pair for pair in comparison.pairs if not pair.supported]
    if undecided:
        sentences.append(f"Not decided by {_these(comparison.images)}: {_undecided(undecided, methods)}.")
    return sentences


def _nothing_compared(comparison: Comparison) -> str:
    if not comparison.scored:
        return f"No method has a score at {comparison.metric}."
    if all(2 * method.scored < comparison.scored for method in comparison.absent.values()):
        return f"Every method failed at {comparison.metric} on more than half of the images; nothing is compared."
    return f"No image has a score at {comparison.metric} from every method; nothing is compared."


def _these(images: int) -> str:
    return "this image" if images == 1 else f"these {images} images"


def _listed(methods: Sequence[str]) -> str:
    quoted = [f"`{method}`" for method in methods]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _better(better: Sequence[str], beaten: Sequence[str], methods: Sequence[str]) -> str:
    rest = [method for method in methods if method not in beaten and method not in better]
    but = f" but {_listed(rest)}" if rest else ""
    which = f"all others{but}" if len(rest) + len(better) < len(beaten) else _listed(beaten)
    return f"{_listed(better)} {'is' if len(better) == 1 else 'are each'} better than {which}."


def _undecided(pairs: Sequence[Pair], methods: Sequence[str]) -> str:
    count = math.comb(len(methods), 2)
    if len(pairs) == count > 1:
        return f"any of the {count} pairs of methods"
    if len(pairs) > len(methods):
        return f"the other {len(pairs)} of the {count} pairs of methods"
    by_better: dict[str, list[str]] = {}
    for pair in pairs:
        by_better.setdefault(pair.better, []).append(pair.worse)
    return "; ".join(f"`{better}` or {_listed(others)}" for better, others in by_better.items())
