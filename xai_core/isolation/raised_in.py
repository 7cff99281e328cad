"""Finds out whether an exception comes from the code of a class."""

import inspect
from collections.abc import Iterator
from types import CodeType

from xai_core.error_text import causes_of, traceback_of
from xai_core.errors import PluginContractError, TimeLimitError, XAIError


def raised_in(error: BaseException, made_by: type, base: type) -> bool:
    """Return whether an exception was raised in a function that a class overrides or adds to its base class.

    An `XAIError` does not count, because it describes a mistake of the caller. For `TimeLimitError` and
    `PluginContractError`, the original exception in their context counts.
    """
    kind = type(error)
    if issubclass(kind, TimeLimitError | PluginContractError):
        return any(raised_in(cause, made_by, base) for cause in causes_of(error))
    return not issubclass(kind, XAIError) and not {*_codes(made_by, base)}.isdisjoint(_running(error))


def _codes(made_by: type, base: type) -> Iterator[CodeType]:
    """Yield the code of the functions of a class and its ancestors below `base`."""
    for ancestor in made_by.__mro__[: made_by.__mro__.index(base)]:
        for member in vars(ancestor).values():
            function = getattr(member, "fget", None) or getattr(member, "func", None) or member  # of a property
            function = inspect.unwrap(getattr(function, "__func__", function))
            if inspect.isfunction(function):
                yield function.__code__


def _running(error: BaseException) -> Iterator[CodeType]:
    """Yield the code of the frames in the traceback of an exception."""
    traceback = traceback_of(error)
    while traceback is not None:
        yield traceback.tb_frame.f_code
        traceback = traceback.tb_next
