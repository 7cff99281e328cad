"""Reports the plugin call in progress to a function, such as one that informs another process."""

import contextlib
from collections.abc import Callable, Iterator

from xai_core.isolation.error_context import PluginCall

Report = Callable[[PluginCall | None, float | None], None]
"""Receives the innermost call in progress and its time limit in seconds, or None."""
_reports: list[Report] = []
_calls: list[tuple[PluginCall | None, float | None]] = [(None, None)]


@contextlib.contextmanager
def reporting(report: Report) -> Iterator[None]:
    """Report the beginning and the end of every guarded call in this block."""
    _reports.append(report)
    try:
        yield
    finally:
        _reports.remove(report)


@contextlib.contextmanager
def reported(call: PluginCall, seconds: float | None) -> Iterator[None]:
    """Report a call at its beginning, and the outer call or None at its end.

    An exception of the function that receives the report is raised in place of the call.
    """
    if not _reports:
        yield
        return
    _calls.append((call, seconds))
    try:
        _send()
        yield
    except BaseException as error:
        _calls.pop()
        if isinstance(error, Exception):  # another one ends the process during this call
            _send()
        raise
    _calls.pop()
    _send()


def step(description: str, seconds: float | None = None) -> contextlib.AbstractContextManager[None]:
    """Report a step that may call several plugins, as `reported` does."""
    return reported(PluginCall("step", description, None), seconds)


def _send() -> None:
    for report in _reports:
        report(*_calls[-1])
