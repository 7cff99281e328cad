"""What surrounds each call into a plugin: whose error it is, how long it may take, what it must not leave behind."""

import contextlib
from collections.abc import Iterator

from xai_core.blame import Call, mark_lasting
from xai_core.errors import TimeLimitError, TraceError
from xai_core.limits import limited
from xai_core.traces import Trace, Watch


class Guard:
    """Guards the calls into plugins that one call of an engine makes.

    Parameters
    ----------
    watch
        Over the model.
    seconds
        How long each call may take; no limit if None.
    """

    def __init__(self, watch: Watch, seconds: float | None) -> None:
        self._watch, self._seconds = watch, seconds
        watch.look()

    @contextlib.contextmanager
    def around(self, call: Call) -> Iterator[None]:
        """Guard one call.

        Raises
        ------
        TimeLimitError
            Where it took too long.
        TraceError
            Where it changed the model. Other errors of the call pass as they are, with a note.
        """

        def late() -> TimeLimitError:
            return TimeLimitError(
                f"{call.named} took longer than {self._seconds:g} s, and was interrupted; give it more, or leave it out"
            )

        self._watch.enter()
        try:
            with limited(self._seconds, late):
                yield
        except BaseException as error:
            if isinstance(error, Exception):
                call.blame(error)
            trace = self._watch.leave(call)
            if trace:
                error.add_note(_told(trace))
                if trace.lasting:
                    mark_lasting(error)
            raise
        trace = self._watch.leave(call)
        if trace:
            raise _error(trace)


def _error(trace: Trace) -> TraceError:
    error = TraceError(_told(trace))
    if len(trace.calls) == 1:
        trace.calls[0].blame(error)
    if trace.lasting:
        mark_lasting(error)
    return error


def _told(trace: Trace) -> str:
    whose = " or ".join(call.named for call in trace.calls)
    whose = whose if len(trace.calls) == 1 else f"one of those that ran at once in several threads, {whose},"
    after = (
        "the model's weights were changed: load it again"
        if trace.lasting
        else "this was put back; tell its authors that explainers and metrics must not touch the model, or leave it out"
    )
    return f"{whose} left on the model {trace.said}; {after}"
