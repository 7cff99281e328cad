"""Says in whose code an error came up, on the error itself."""

from dataclasses import dataclass
from typing import TypeVar

from xai_core.configurable import Configurable

E = TypeVar("E", bound=BaseException)
_CALL, _LASTING = "xai_call", "xai_lasting"


@dataclass(frozen=True, eq=False)
class PluginCall:
    """A call into a plugin: of an explainer, or of a metric on the maps of a method.

    Attributes
    ----------
    kind
        `explainer` or `metric`.
    key
        What it was asked for as.
    made
        The explainer or metric.
    origin
        Its distribution and version; empty where it is a user's own.
    maps
        For a metric, the key of the maps.
    """

    kind: str
    key: str
    made: Configurable
    origin: str = ""
    maps: str = ""

    @property
    def named(self) -> str:
        """For messages: `their-cam of their-cam 2.3`, `deletion of xai-faithfulness 0.1.0 for maps of grad-cam`."""
        return f"{self.key}{self._rest}"

    @property
    def _rest(self) -> str:
        return (f" of {self.origin}" if self.origin else "") + (f" for maps of {self.maps}" if self.maps else "")

    def attach_to(self, error: E) -> E:
        """Say on the error that it is of this call, unless it is of a call inside of it."""
        if responsible_call(error) is None:
            vars(error)[_CALL] = self
            if self.named not in str(error):
                error.add_note(f"raised by {self.kind} {self.key!r}{self._rest}")
        return error


def responsible_call(error: BaseException) -> PluginCall | None:
    """The call in which an error came up, where that is known."""
    return vars(error).get(_CALL)


def mark_lasting(error: BaseException) -> None:
    """Say on the error that the model's weights were changed, which nothing puts back."""
    vars(error)[_LASTING] = True


def is_lasting(error: BaseException) -> bool:
    """Whether the model's weights were changed where this error came up."""
    return _LASTING in vars(error)


def said(error: BaseException) -> str:
    """What an error says, with its notes in parentheses."""
    return " ".join([str(error), *(f"({note})" for note in getattr(error, "__notes__", ()))]).strip()
