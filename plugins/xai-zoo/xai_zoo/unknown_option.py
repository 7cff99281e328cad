"""Errors for options that a library passes to a model which does not take them."""

import inspect
import re
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from xai_core.plugin import OptionError, UnknownOptionError, suggest

_UNEXPECTED = re.compile(r"(\w+)(?:\.__init__)?\(\) got an unexpected keyword argument '(\w+)'")


def option_error(spec: str, options: Mapping[str, Any], error: Exception) -> OptionError:
    """Return the error for options with which a library cannot build a model.

    Parameters
    ----------
    spec
        The source and the name of the model.
    options
        The options that were passed to the library.
    error
        The error that the library raised. If it is the TypeError of a call with an unknown option, the result suggests
        options that the called class or function takes.
    """
    match = _UNEXPECTED.search(str(error)) if isinstance(error, TypeError) else None
    if match is None:
        return OptionError(f"{spec} cannot be built with {options}: {error}")
    called, option = _callee(error, match[1]), match[2]
    known = [name for name in inspect.signature(called).parameters if name != "kwargs"] if called else []
    return UnknownOptionError(f"{spec} has no option {option!r}; {suggest(option, known) if known else error}")


def _callee(error: Exception, name: str) -> Callable[..., Any] | None:
    """Return the class or function whose call raised an error, by its name in the variables of the traceback."""
    for frame, _ in reversed([*traceback.walk_tb(error.__traceback__)]):
        for value in (*frame.f_locals.values(), *frame.f_globals.values()):
            if callable(value) and getattr(value, "__name__", "") == name:
                return value
    return None
