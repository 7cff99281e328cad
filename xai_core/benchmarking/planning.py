"""Resolves the settings of a benchmark in a worker."""

import contextlib
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from xai_core.benchmarking.activity import PLANNING, Activity
from xai_core.benchmarking.orders import Resolve, Resolved
from xai_core.benchmarking.plan import Plan
from xai_core.benchmarking.resolve import ResolvedBenchmark, resolve
from xai_core.errors import WorkerError
from xai_core.isolation.current_call import reporting
from xai_core.isolation.error_context import PluginCall

Caught = list[tuple[type[Warning], str, str, int]]


def plan(order: Resolve, report: Callable[[Activity], None]) -> tuple[ResolvedBenchmark, Resolved]:
    """Resolve settings, and report every step before it begins. Return the benchmark, and the answer to the order.

    Raises
    ------
    XAIError
        See `resolve`. `WorkerError` if a step that the benchmark needs ended earlier workers.
    """

    def begin(call: PluginCall | None, seconds: float | None) -> None:
        if call and call.description in order.ended:
            raise WorkerError(order.ended[call.description])
        report(Activity(call.description, seconds=seconds) if call else PLANNING)

    with reporting(begin), _caught_warnings() as caught:
        settings = pickle.loads(order.settings)
        benchmark = resolve(settings, order.device, order.probe_device, order.workers, order.code)
        plan = Plan.of(benchmark, settings, order.settings)
    return benchmark, Resolved(plan, tuple(caught))


@contextlib.contextmanager
def _caught_warnings() -> Iterator[Caught]:
    """Collect the warnings of this block that would be printed. Filters that the block adds are kept."""
    caught: Caught = []
    show = warnings.showwarning

    def keep(message: Warning | str, category: type[Warning], filename: str, lineno: int, *_: Any, **__: Any) -> None:
        known = next(base for base in category.__mro__ if base.__module__ in ("builtins", "xai_core.errors"))
        caught.append((known, str(message), filename, lineno))

    warnings.showwarning = keep
    try:
        yield caught
    finally:
        warnings.showwarning = show
