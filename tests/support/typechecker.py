"""Checks annotations, shapes included, at every call while tests run; an int is a float, as in typing."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype

_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
_inner: dict[tuple[str, ...], Any] = {}  # jaxtyping hands over a function that does nothing but be checked


def typechecker(function: Callable[..., Any]) -> Callable[..., Any]:
    """The check of a function's annotations; one for all that a `def` inside another function makes."""
    if "<locals>" not in function.__qualname__:
        return _checked(function)
    key = (function.__module__, function.__qualname__, *map(repr, function.__annotations__.items()))
    if key not in _inner:
        _inner[key] = _checked(function)
    return _inner[key]
