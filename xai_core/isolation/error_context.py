"""Attaches the responsible plugin call to an exception."""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from xai_core.error_text import add_note, attributes_of, described, is_regular, message_of, notes_of, remove_notes
from xai_core.errors import PluginContractError
from xai_core.isolation.interrupts import Interrupts
from xai_core.isolation.timeouts import Interrupted

E = TypeVar("E", bound=BaseException)
_CONTEXT = "xai_context"
_numbers = itertools.count()


@dataclass(frozen=True, eq=False)
class PluginCall:
    """A call into a plugin, such as a call of an explainer, or of a metric on the maps of a method.

    Attributes
    ----------
    kind
        `explainer`, `metric`, `adapter`, `model` or `dataset`.
    key
        The key of the explainer or metric in the results, or the name in the registry.
    plugin_object
        The explainer or metric, or the class of the adapter or source.
    origin
        The package and its version. Empty for an object that no installed package provides.
    maps
        For a metric, the key of the maps.
    """

    kind: str
    key: str
    plugin_object: object
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
        """Attach this call to an error that no other call has raised before. Return the error."""
        return self._attach(error, -1)

    def claim(self, error: BaseException) -> None:
        """Attach this call to an error, in place of the call that is attached."""
        self._attach(error, next(_numbers))

    @contextlib.contextmanager
    def responsible(self, quiet: type[Exception] | None = None) -> Iterator[None]:
        """Attach this call to an exception of the block, unless a call inside the block is attached already.

        Parameters
        ----------
        quiet
            Base class of the exceptions that get no note, because their messages are complete.

        Raises
        ------
        PluginContractError
            If the exception is not an `Exception`, such as `SystemExit`, or cannot be printed or annotated.
        KeyboardInterrupt
            If Ctrl-C arrived in the block, even if the block raised another exception.
        """
        start, interrupts = next(_numbers), Interrupts()
        with interrupts.noted():
            try:
                yield
            except Interrupted:
                raise
            except BaseException as error:
                if interrupts.arrived:
                    raise KeyboardInterrupt from None
                standard = issubclass(type(error), Exception)
                if standard and is_regular(error):
                    self._attach(error, start, note=quiet is None or not isinstance(error, quiet))
                    raise
                kind = "cannot be printed or annotated" if standard else "would end the process"
                message = f"{self.description} raised an exception that {kind}, {described(error)}; "
                remedy = "raise an exception of a standard class, such as ValueError"
                raise self.attach_to(PluginContractError(message + remedy)) from None
            if interrupts.arrived:
                raise KeyboardInterrupt

    def _attach(self, error: E, start: int, note: bool = True) -> E:
        """Attach this call to an error, unless another call was attached after `start`.

        Several plugins may raise the same exception object, so earlier attachments are removed.
        """
        earlier = _context_of(error)
        if earlier is not None and earlier.number > start:
            return error
        remove_notes(error, [] if earlier is None else earlier.notes)
        context = attributes_of(error)[_CONTEXT] = _Context(self, next(_numbers))
        if note and self.description not in message_of(error):
            context.notes.append(f"raised by {self.kind} {self.key!r}{self._details}")
            add_note(error, context.notes[-1])
        return error


@dataclass(eq=False)
class _Context:
    """Plugin call that raised an exception, and its side effects.

    Attributes
    ----------
    call
        The call that raised it.
    number
        Increases with each attachment.
    notes
        The notes that the engine added.
    weights_changed
        Whether the call changed the model's weights.
    """

    call: PluginCall | None
    number: int
    notes: list[str] = field(default_factory=list)
    weights_changed: bool = False


def _context_of(error: BaseException) -> _Context | None:
    return attributes_of(error).get(_CONTEXT)


def responsible_call(error: BaseException) -> PluginCall | None:
    """Return the plugin call in which an error was raised, or None if it is not known."""
    context = _context_of(error)
    return None if context is None else context.call


def without_call(error: E) -> E:
    """Remove the plugin call from an error, so that another process needs no code of the plugin. Its notes stay."""
    attributes_of(error).pop(_CONTEXT, None)
    return error


def add_effects(error: BaseException, description: str, weights_changed: bool) -> None:
    """Add a note to an error: the side effects of the plugin call that raised it."""
    context = _context_of(error) or _Context(None, next(_numbers))
    attributes_of(error)[_CONTEXT] = context
    context.weights_changed |= weights_changed
    if description not in message_of(error):
        context.notes.append(description)
        add_note(error, description)


def weights_changed(error: BaseException) -> bool:
    """Return whether the plugin call that raised this error changed the model's weights."""
    context = _context_of(error)
    return context is not None and context.weights_changed


def message_with_notes(error: BaseException) -> str:
    """Return the message of an error, followed by its notes in parentheses."""
    return " ".join([message_of(error), *(f"({note})" for note in notes_of(error))]).strip()
