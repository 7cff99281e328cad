"""The verdict of a run: two sentences on the best methods and on the controls."""

from collections.abc import Sequence

from xai_core.benchmarking.comparison import MethodComparison
from xai_core.report.controls import contenders, is_control

_MOST = 3
"""Maximum number of names that a sentence lists."""


def verdict(comparisons: Sequence[MethodComparison]) -> tuple[str, str]:
    """Return two sentences on a model: which methods lead by each metric, and how many are better
    than the controls.

    A method is called best only if the data supports its difference from every other method. Controls are never called
    best. Text between backticks is code.
    """
    return _leaders(comparisons), _controls(comparisons)


def _leaders(comparisons: Sequence[MethodComparison]) -> str:
    metrics: dict[str, list[str]] = {}
    for comparison in comparisons:
        if len(contenders(comparison)) > 1:
            metrics.setdefault(_lead(comparison), []).append(f"`{comparison.metric}`")
    if not metrics:
        return "The run compares fewer than two methods besides the controls, so no method can be called best."
    clauses = [f"by {_listed(names)}, {lead}" for lead, names in metrics.items()]
    sentence = "; ".join(clauses)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _lead(comparison: MethodComparison) -> str:
    """Return which methods lead: the first one, and all that the data does not separate from it."""
    first, *others = (standing.method for standing in contenders(comparison))
    supported = {pair.worse for pair in comparison.pairs if pair.better == first and pair.supported}
    undecided = [method for method in others if method not in supported]
    if not undecided:
        return f"`{first}` is best among {len(others) + 1} methods on {_images(comparison)}"
    if len(undecided) == len(others):
        return f"no method is best: the lead of `{first}` over every other method is undecided"
    return f"`{first}` leads, but its difference from {_some(undecided)} is undecided"


def _controls(comparisons: Sequence[MethodComparison]) -> str:
    controls = {standing.method for each in comparisons for standing in each.standings if is_control(standing.method)}
    if not controls:
        return "The run has no controls, so it cannot show whether the methods are better than chance."
    metrics: dict[str, list[str]] = {}
    for comparison in comparisons:
        if contenders(comparison):
            metrics.setdefault(_better_than_controls(comparison), []).append(f"`{comparison.metric}`")
    sentence = "; ".join(
        f"by {_listed(names)}, {who} shown to be better than every control" for who, names in metrics.items()
    )
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else "The run compares the controls only."


def _better_than_controls(comparison: MethodComparison) -> str:
    """Return how many methods are better than every control, such as `none of the 5 methods is`."""
    controls = {standing.method for standing in comparison.standings if is_control(standing.method)}
    supported = {(pair.better, pair.worse) for pair in comparison.pairs if pair.supported}
    methods = [standing.method for standing in contenders(comparison)]
    better = [method for method in methods if all((method, control) in supported for control in controls)]
    if len(better) == len(methods):
        return f"all {len(methods)} methods are" if len(methods) > 1 else f"`{methods[0]}` is"
    if len(better) == 1:
        return f"only `{better[0]}` is"
    return f"{len(better) or 'none'} of the {len(methods)} methods {'are' if better else 'is'}"


def _images(comparison: MethodComparison) -> str:
    return "one image" if comparison.images == 1 else f"{comparison.images} images"


def _some(methods: Sequence[str]) -> str:
    """Name the methods, or count them if there are many."""
    if len(methods) > _MOST:
        return f"{len(methods)} of the methods"
    return _listed([f"`{method}`" for method in methods])


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
