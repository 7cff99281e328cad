"""Guards a plugin call: names the responsible plugin, limits the time, and reports side effects."""

import contextlib
from collections.abc import Iterator, Sequence

from xai_core.errors import SideEffectError, TimeLimitError
from xai_core.isolation.error_context import PluginCall, mark_weights_changed
from xai_core.isolation.model_state import ModelStateMonitor, SideEffects
from xai_core.isolation.shared_tensors import NamedTensors, SharedTensors
from xai_core.isolation.timeouts import limited


class Guard:
    """Guards the plugin calls of one call of an engine.

    Parameters
    ----------
    monitor
        Monitors the model.
    seconds
        Time limit of each call in seconds, or None.
    """

    def __init__(self, monitor: ModelStateMonitor, seconds: float | None) -> None:
        self._monitor, self._seconds = monitor, seconds
        monitor.remember()

    @contextlib.contextmanager
    def around(self, call: PluginCall, tensors: NamedTensors = lambda: iter(())) -> Iterator[None]:
        """Guard one call. Other errors pass unchanged, with a note that names the call.

        Parameters
        ----------
        call
            The call.
        tensors
            Yields the tensors that the call shares with other calls.

        Raises
        ------
        TimeLimitError
            If the call exceeds the time limit.
        SideEffectError
            If the call changes the model, or writes to the shared tensors.
        """

        def timeout() -> TimeLimitError:
            return TimeLimitError(
                f"{call.description} took longer than {self._seconds:g} s and was interrupted; "
                "raise the time limit, or exclude it"
            )

        shared = SharedTensors(tensors)
        self._monitor.enter()
        try:
            with limited(self._seconds, timeout):
                yield
        except BaseException as error:
            if isinstance(error, Exception):
                call.attach_to(error)
            effects = self._monitor.leave(call)
            if effects:
                error.add_note(_message(effects))
                if effects.weights_changed:
                    mark_weights_changed(error)
            if written := shared.written():
                error.add_note(_message_of_writes(call, written))
            raise
        effects = self._monitor.leave(call)
        if effects:
            raise _error(effects)
        if written := shared.written():
            raise call.attach_to(SideEffectError(_message_of_writes(call, written)))


def _error(effects: SideEffects) -> SideEffectError:
    error = SideEffectError(_message(effects))
    if len(effects.calls) == 1:
        effects.calls[0].attach_to(error)
    if effects.weights_changed:
        mark_weights_changed(error)
    return error


def _message_of_writes(call: PluginCall, written: Sequence[str]) -> str:
    return (
        f"{call.description} wrote in place to {' and '.join(written)}, which plugins share; its results are "
        "discarded: write to a copy (`tensor.clone()`), or exclude the plugin"
    )


def _message(effects: SideEffects) -> str:
    who = " or ".join(call.description for call in effects.calls)
    who = who if len(effects.calls) == 1 else f"one of the calls that ran at the same time in several threads, {who},"
    remedy = (
        "the weights cannot be restored: load the model again"
        if effects.weights_changed
        else "the change was undone; report it to the plugin's authors, because explainers and metrics must not change "
        "the model, or exclude the plugin"
    )
    return f"{who} changed the model: {effects.description}; {remedy}"
