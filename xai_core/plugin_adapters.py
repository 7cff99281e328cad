"""Creates the adapters of plugins for a model, under the guard."""

import contextlib
import warnings

from torch import nn

from xai_core.error_text import described
from xai_core.errors import PluginWarning, SideEffectError, TimeLimitError
from xai_core.isolation.error_context import PluginCall, weights_changed
from xai_core.isolation.guard import Guard
from xai_core.isolation.model_state import ModelStateMonitor
from xai_core.model.adapter import ModelAdapter
from xai_core.model.probe import Probe
from xai_core.plugins.loader import Entry
from xai_core.plugins.registry import current


class PluginAdapters:
    """Creates the adapters of plugins for one model.

    Parameters
    ----------
    model
        The model, without wrappers.
    monitor
        The monitor of the model's state.
    seconds
        Time limit for each adapter in seconds, or None.
    """

    def __init__(self, model: nn.Module, monitor: ModelStateMonitor, seconds: float | None) -> None:
        self._model, self._monitor, self._seconds = model, monitor, seconds
        self._disabled: set[type[ModelAdapter]] = set()

    def first(self, probed: Probe) -> ModelAdapter | None:
        """Return the first adapter that supports the model. An adapter that fails is skipped with a warning.

        An adapter that exceeds the time limit or changes the model is not called again.

        Raises
        ------
        SideEffectError
            If an adapter changes the weights of the model.
        """
        for entry in current().entries["adapters"].values():
            if entry.made_by in self._disabled:
                continue
            try:
                adapter = self._create(entry, probed)
            except Exception as error:
                if isinstance(error, SideEffectError | TimeLimitError):
                    self._disabled.add(entry.made_by)
                if weights_changed(error):
                    self._disabled.add(entry.made_by)
                    raise
                message = f"adapter {entry.name} of {entry.plugin.release} failed and was skipped"
                warnings.warn(PluginWarning(f"{message}: {described(error)}"), stacklevel=2)
            else:
                if adapter is not None:
                    return adapter
        return None

    def share_disabled(self, other: "PluginAdapters") -> None:
        """Share the adapters that are not called again with a copy of the model."""
        self._disabled = other._disabled

    def _create(self, entry: Entry, probed: Probe) -> ModelAdapter | None:
        made_by: type[ModelAdapter] = entry.made_by
        call = PluginCall("adapter", entry.name, made_by, entry.plugin.release)
        with Guard(self._monitor, self._seconds).around(call):
            if not made_by.suits(self._model, probed):
                return None
            adapter = made_by(self._model, probed)
            _read_properties(adapter)
        return adapter


def _read_properties(adapter: ModelAdapter) -> None:
    """Read each property that a plugin overrides or adds, so that the guard detects side effects and endless loops.

    An exception is raised again when an explainer reads the property.
    """
    kind = type(adapter)
    for ancestor in kind.__mro__[: kind.__mro__.index(ModelAdapter)]:
        for name, member in vars(ancestor).items():
            if hasattr(type(member), "__get__") and not callable(member):
                with contextlib.suppress(Exception):
                    getattr(adapter, name)
