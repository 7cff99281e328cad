"""Control methods in reports: they are labeled, and never called best."""

from xai_core.benchmarking.comparison import MethodComparison, Standing
from xai_core.benchmarking.settings import CONTROLS

CHANGED_MAPS = ("flattened", "blurred")
"""Controls that change the map of another method."""


def is_control(method: str) -> bool:
    """Return whether the spec of a method names a control, such as `random:seed=1` or `flattened(grad-cam)`."""
    return method.partition(":")[0].partition("(")[0] in (*CONTROLS, *CHANGED_MAPS)


def labeled(method: str) -> str:
    """Return the spec of a method. The specs of controls are followed by `(control)`."""
    return f"{method} (control)" if is_control(method) else method


def contenders(comparison: MethodComparison) -> list[Standing]:
    """Return the standings of the compared methods that are not controls, best first."""
    return [standing for standing in comparison.standings if not is_control(standing.method)]


def best_of(comparison: MethodComparison) -> set[str]:
    """Return the methods with the best mean, without controls. There are none if all these methods rank equally."""
    ranks = {standing.method: standing.rank for standing in contenders(comparison)}
    best = min(ranks.values(), default=0)
    return {method for method, rank in ranks.items() if rank == best} if len({*ranks.values()}) > 1 else set()
