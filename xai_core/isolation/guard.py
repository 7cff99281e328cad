"""What surrounds each call into a plugin: whose error it is, how long it may take, what it must not leave behind."""

import contextlib
from collections.abc import Iterator

from xai_core.errors import SideEffectError, TimeLimitError
from xai_core.isolation.error_context import PluginCall, mark_lasting
from xai_core.isolation.model_state import ModelStateMonitor, SideEffects
from xai_core.isolation.timeouts import limited


class Guard:
    """Guards the calls into plugins that one call of an engine makes.

    Parameters
    ----------
    monitor
        Over the model.
    seconds
        How long each call may take; no limit if None.
    """

    def __init__(self, monitor: ModelStateMonitor, seconds: float | None) -> None:
        self._monitor, self._seconds = monitor, seconds
        monitor.look()

    @contextlib.contextmanager
    def around(self, call: PluginCall) -> Iterator[None]:
        """Guard one call.

        Raises
        ------
        TimeLimitError
            Where it took too long.
        SideEffectError
            Where it changed the model. Other errors of the call pass as they are, with a note.
        """

        def late() -> TimeLimitError:
            return TimeLimitError(
                f"{call.named} took longer than {self._seconds:g} s, and was interrupted; give it more, or leave it out"
            )

        self._monitor.enter()
        try:
            with limited(self._seconds, late):
                yield
        except BaseException as error:
            if isinstance(error, Exception):
                call.attach_to(error)
            trace = self._monitor.leave(call)
            if trace:
                error.add_note(_told(trace))
                if trace.lasting:
                    mark_lasting(error)
            raise
        trace = self._monitor.leave(call)
        if trace:
            raise _error(trace)


def _error(trace: SideEffects) -> SideEffectError:
    error = SideEffectError(_told(trace))
    if len(trace.calls) == 1:
        trace.calls[0].attach_to(error)
    if trace.lasting:
        mark_lasting(error)
    return error


def _told(trace: SideEffects) -> str:
    whose = " or ".join(call.named for call in trace.calls)
    whose = whose if len(trace.calls) == 1 else f"one of those that ran at once in several threads, {whose},"
    after = (
        "the model's weights were changed: load it again"
        if trace.lasting
        else "this was put back; tell its authors that explainers and metrics must not touch the model, or leave it out"
    )
    return f"{whose} left on the model {trace.said}; {after}"
