"""Sentences that state which differences between methods the data supports."""

import math
from collections.abc import Sequence

from xai_core.benchmarking.comparison import MethodComparison, MethodPair


def conclusions(comparison: MethodComparison) -> list[str]:
    """Return sentences that state which methods are better than others, and which pairs are undecided."""
    if not comparison.standings:
        return [_nothing_compared(comparison)]
    methods = [standing.method for standing in comparison.standings]
    if len(methods) == 1:
        return [f"Only `{methods[0]}` has scores for {comparison.metric}, so there is no comparison."]
    better_than: dict[tuple[str, ...], list[str]] = {}
    for method in methods:
        worse = tuple(pair.worse for pair in comparison.pairs if pair.better == method and pair.supported)
        better_than.setdefault(worse, []).append(method)
    sentences = [_better(better, worse, methods) for worse, better in better_than.items() if worse]
    undecided = [pair for pair in comparison.pairs if not pair.supported]
    if undecided:
        images = "this image" if comparison.images == 1 else f"these {comparison.images} images"
        sentences.append(f"Undecided on {images}: {_undecided(undecided, methods)}.")
    return sentences


def _nothing_compared(comparison: MethodComparison) -> str:
    if not comparison.scored:
        return f"No method has a score for {comparison.metric}."
    if all(2 * method.scored < comparison.scored for method in comparison.excluded.values()):
        return f"Every method failed on more than half of the images for {comparison.metric}. There is no comparison."
    return f"No image has a score for {comparison.metric} from every method. There is no comparison."


def _listed(methods: Sequence[str]) -> str:
    quoted = [f"`{method}`" for method in methods]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _better(better: Sequence[str], worse: Sequence[str], methods: Sequence[str]) -> str:
    rest = [method for method in methods if method not in worse and method not in better]
    exceptions = f" except {_listed(rest)}" if rest else ""
    than = f"all others{exceptions}" if len(rest) + len(better) < len(worse) else _listed(worse)
    return f"{_listed(better)} {'is' if len(better) == 1 else 'are each'} better than {than}."


def _undecided(pairs: Sequence[MethodPair], methods: Sequence[str]) -> str:
    """Name the undecided pairs, or count them if there are more pairs than methods."""
    count = math.comb(len(methods), 2)
    if len(pairs) == count > 1:
        return f"all {count} pairs of methods"
    if len(pairs) > len(methods):
        return f"the other {len(pairs)} of the {count} pairs of methods"
    by_better: dict[str, list[str]] = {}
    for pair in pairs:
        by_better.setdefault(pair.better, []).append(pair.worse)
    return "; ".join(f"`{better}` versus {_listed(others)}" for better, others in by_better.items())
