"""Detects side effects of a plugin call on the process, and undoes them."""

import sys
from collections.abc import Container, Iterable, Iterator, Sequence, Set
from typing import Any

from xai_core.isolation.error_context import PluginCall
from xai_core.isolation.process_settings import OF_PROCESS, OF_THREAD, Setting
from xai_core.isolation.side_effects import SideEffects
from xai_core.locks import UninterruptedLock


class Snapshot:
    """The values of settings at one time."""

    def __init__(self, settings: Iterable[Setting] = (*OF_THREAD, *OF_PROCESS)) -> None:
        self._values = [(setting, setting.read()) for setting in settings]
        self._modules = len(sys.modules)

    def changed(self) -> list[str]:
        """Return the names of the settings that changed since."""
        return [setting.name for setting, _, _ in self._changes()]

    def undo(self, ignored: Container[str]) -> list[str]:
        """Undo all changes except those of ignored settings, and return descriptions of the changes that are errors."""
        descriptions = []
        for setting, before, now in self._changes():
            if setting.name not in ignored:
                setting.write(before)
                if setting.reported:
                    descriptions.append(setting.described(before, now))
        return descriptions

    def _changes(self) -> Iterator[tuple[Setting, Any, Any]]:
        """Iterate over the changed settings, without additions by imported modules."""
        imported = len(sys.modules) != self._modules
        for setting, before in self._values:
            now = setting.read()
            if before is None or now is None or before == now or (imported and setting.adds(before, now)):
                continue
            yield setting, before, now


class ProcessMonitor:
    """Compares the settings before and after plugin calls, for all engines and threads."""

    def __init__(self) -> None:
        self._lock = UninterruptedLock()
        self._before: Snapshot | None = None
        self._active = 0  # plugin calls in progress
        self._suspects: dict[str, PluginCall] = {}
        self._ignored: set[str] = set()

    def enter(self) -> Snapshot:
        """Begin a plugin call, and return the settings of this thread."""
        with self._lock:
            if not self._active:
                self._before = Snapshot(OF_PROCESS)
            self._active += 1
        return Snapshot(OF_THREAD)

    def leave(self, call: PluginCall, of_thread: Snapshot, ignored: Set[str] = frozenset()) -> list[SideEffects]:
        """End a plugin call, undo changes, and return those that are errors.

        If calls of several threads overlap, changes of the whole process are returned when the last call ends.
        """
        effects = _effects(of_thread.undo(ignored), [call])
        with self._lock:
            self._active -= 1
            self._suspects[call.description] = call
            self._ignored |= ignored
            if self._active or self._before is None:
                return effects
            suspects, self._suspects = [*self._suspects.values()], {}
            all_ignored, self._ignored = self._ignored, set()
            return effects + _effects(self._before.undo(all_ignored), suspects)


process_monitor = ProcessMonitor()


def _effects(descriptions: Sequence[str], calls: Sequence[PluginCall]) -> list[SideEffects]:
    return [SideEffects(" and ".join(descriptions), calls)] if descriptions else []
