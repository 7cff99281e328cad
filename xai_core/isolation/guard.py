"""Guards a plugin call: names the responsible plugin, limits the time, and reports side effects."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xai_core.errors import SideEffectError, TimeLimitError
from xai_core.isolation.current_call import reported
from xai_core.isolation.error_context import PluginCall, add_effects
from xai_core.isolation.model_state import ModelStateMonitor
from xai_core.isolation.process_state import Snapshot, process_monitor
from xai_core.isolation.shared_tensors import NamedTensors, SharedTensors
from xai_core.isolation.side_effects import SideEffects
from xai_core.isolation.timeouts import limited


@contextlib.contextmanager
def limited_call(call: PluginCall, seconds: float | None, quiet: type[Exception] | None = None) -> Iterator[None]:
    """Limit the time of a call, and name it in its errors, as `PluginCall.responsible` does.

    Raises
    ------
    TimeLimitError
        If the call exceeds the time limit.
    """

    def timeout() -> TimeLimitError:
        message = f"{call.description} took longer than {seconds:g} s and was interrupted; "
        return call.attach_to(TimeLimitError(f"{message}raise the time limit, or exclude it"))

    with limited(seconds, timeout), call.responsible(quiet):
        yield


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
            If the call changes the model or settings of the process, or writes to the shared tensors.
        """
        shared = SharedTensors(tensors)
        self._monitor.enter()
        settings = process_monitor.enter()
        try:
            with reported(call, self._seconds), limited_call(call, self._seconds):
                yield
        except BaseException as error:
            for effect in self._leave(call, shared, settings):
                add_effects(error, effect.message, effect.weights_changed)
            raise
        if effects := self._leave(call, shared, settings):
            raise _error(effects)

    def _leave(self, call: PluginCall, shared: SharedTensors, settings: Snapshot) -> "list[_Effect]":
        """End a call, and return its side effects."""
        on_process = process_monitor.leave(call, settings, self._monitor.changing_settings)
        effects = self._monitor.leave(call)
        written = shared.written()
        return [
            *([_effect_on_model(effects)] if effects else []),
            *([_Effect(call, _message_of_writes(call, written))] if written else []),
            *map(_effect_on_process, on_process),
        ]


@dataclass(frozen=True)
class _Effect:
    """A side effect, and the call that had it, if it is known."""

    call: PluginCall | None
    message: str
    weights_changed: bool = False


def _error(effects: Sequence[_Effect]) -> SideEffectError:
    error = SideEffectError(effects[0].message)
    if effects[0].call:
        effects[0].call.attach_to(error)
    for effect in effects:
        add_effects(error, effect.message, effect.weights_changed)
    return error


def _message_of_writes(call: PluginCall, written: Sequence[str]) -> str:
    return (
        f"{call.description} wrote in place to {' and '.join(written)}, which plugins share; its results are "
        "discarded: write to a copy (`tensor.clone()`), or exclude the plugin"
    )


def _effect_on_model(effects: SideEffects) -> _Effect:
    who, known = _culprit(effects.calls)
    remedy = (
        "the weights cannot be restored: load the model again"
        if effects.weights_changed
        else "the change was undone; report it to the plugin's authors, because plugins must not change the model, or "
        "exclude the plugin"
    )
    return _Effect(known, f"{who} changed the model: {effects.description}; {remedy}", effects.weights_changed)


def _effect_on_process(effects: SideEffects) -> _Effect:
    who, known = _culprit(effects.calls)
    remedy = (
        "the change was undone; report it to the plugin's authors, because plugins must not change the state of the "
        "process (for random numbers, a plugin needs its own generator), or exclude the plugin"
    )
    return _Effect(known, f"{who} changed the process: {effects.description}; {remedy}")


def _culprit(calls: Sequence[PluginCall]) -> tuple[str, PluginCall | None]:
    """Return a description of the calls that may have had a side effect, and the call if it is known."""
    who = " or ".join(call.description for call in calls)
    if len(calls) == 1:
        return who, calls[0]
    return f"one of the calls that ran at the same time in several threads, {who},", None
