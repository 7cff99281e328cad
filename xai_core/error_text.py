"""Reads and annotates exceptions safely, even if methods of the exception raise errors."""

import reprlib
from asyncio import CancelledError
from types import TracebackType
from typing import Any

UNREADABLE = "its message cannot be read"
CONTAINED = (Exception, SystemExit, GeneratorExit, CancelledError)
"""The exceptions that end a plugin's call, but not the process: all except Ctrl-C and the end of a time limit."""
_instance_dict = BaseException.__dict__["__dict__"].__get__
_name_of_type = type.__dict__["__name__"].__get__
_cause, _context, _traceback = (BaseException.__dict__[f"__{name}__"] for name in ("cause", "context", "traceback"))


def attributes_of(error: BaseException) -> dict[str, Any]:
    """Return the instance dictionary of an exception, even if its class overrides the access to attributes."""
    attributes: dict[str, Any] = _instance_dict(error)
    return attributes


def message_of(error: BaseException) -> str:
    """Return the message of an exception, or `UNREADABLE` if the exception raises when it is printed."""
    try:
        return str.__str__(str(error))
    except CONTAINED:
        return UNREADABLE


def shown(value: object) -> str:
    """Return the shortened `repr` of a value, or its type if the `repr` raises."""
    try:
        return " ".join(reprlib.repr(value).split())
    except CONTAINED:
        return f"a value of type {_name_of_type(type(value))}"


def class_name(error: BaseException) -> str:
    """Return the name of the class of an exception."""
    name: str = _name_of_type(type(error))
    return name


def described(error: BaseException) -> str:
    """Return the type and the message of an exception."""
    message = message_of(error)
    return f"{class_name(error)}: {message}" if message else class_name(error)


def notes_of(error: BaseException) -> list[str]:
    """Return the notes of an exception."""
    notes = attributes_of(error).get("__notes__")
    return [note for note in notes if type(note) is str] if type(notes) is list else []


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an exception."""
    attributes_of(error)["__notes__"] = [*notes_of(error), note]


def remove_notes(error: BaseException, notes: list[str]) -> None:
    """Remove notes from an exception."""
    kept = [note for note in notes_of(error) if note not in notes]
    if kept:
        attributes_of(error)["__notes__"] = kept
    else:
        attributes_of(error).pop("__notes__", None)


def causes_of(error: BaseException) -> list[BaseException]:
    """Return the cause and the context of an exception, if there are any."""
    return [other for other in (_cause.__get__(error), _context.__get__(error)) if other is not None]


def traceback_of(error: BaseException) -> TracebackType | None:
    """Return the traceback of an exception."""
    traceback: TracebackType | None = _traceback.__get__(error)
    return traceback


def remove_traceback(error: BaseException) -> None:
    """Remove the traceback of an exception, whose frames keep tensors in memory."""
    _traceback.__set__(error, None)


def is_regular(error: BaseException) -> bool:
    """Return whether an exception can be printed, compared and annotated like an exception of a standard class."""
    try:
        str(error), repr(error), isinstance(error, type), vars(error)
        error.__traceback__ = error.__traceback__
        error.__cause__ = error.__cause__
    except CONTAINED:
        return False
    return True
