"""Attaches the responsible plugin call to an exception."""

from dataclasses import dataclass
from typing import TypeVar

from xai_core.configurable import Configurable

E = TypeVar("E", bound=BaseException)
_CALL, _WEIGHTS_CHANGED = "xai_call", "xai_weights_changed"


@dataclass(frozen=True, eq=False)
class PluginCall:
    """A call into a plugin: of an explainer, or of a metric on the maps of a method.

    Attributes
    ----------
    kind
        `explainer` or `metric`.
    key
        The key of the explainer or metric in the results.
    plugin_object
        The explainer or metric.
    origin
        The package and its version. Empty for an object that no installed package provides.
    maps
        For a metric, the key of the maps.
    """

    kind: str
    key: str
    plugin_object: Configurable
    origin: str = ""
    maps: str = ""

    @property
    def description(self) -> str:
        """Description in error messages, such as `deletion of xai-faithfulness 0.1.0 for maps of grad-cam`."""
        return f"{self.key}{self._details}"

    @property
    def _details(self) -> str:
        return (f" of {self.origin}" if self.origin else "") + (f" for maps of {self.maps}" if self.maps else "")

    def attach_to(self, error: E) -> E:
        """Attach this call to an error, unless an inner call is attached already. Return the error."""
        if responsible_call(error) is None:
            vars(error)[_CALL] = self
            if self.description not in str(error):
                error.add_note(f"raised by {self.kind} {self.key!r}{self._details}")
        return error


def responsible_call(error: BaseException) -> PluginCall | None:
    """Return the plugin call in which an error was raised, or None if it is not known."""
    return vars(error).get(_CALL)


def mark_weights_changed(error: BaseException) -> None:
    """Note on an error that the plugin call changed the model's weights, which cannot be undone."""
    vars(error)[_WEIGHTS_CHANGED] = True


def weights_changed(error: BaseException) -> bool:
    """Whether the plugin call that raised this error changed the model's weights."""
    return _WEIGHTS_CHANGED in vars(error)


def message_with_notes(error: BaseException) -> str:
    """Return the message of an error, followed by its notes in parentheses."""
    return " ".join([str(error), *(f"({note})" for note in getattr(error, "__notes__", ()))]).strip()
