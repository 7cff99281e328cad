"""Checks annotations, shapes included, at every call while tests run; an int is a float, as in typing.

`--jaxtyping-packages=PACKAGES,support.typechecker.typechecker` decorates each function of the packages.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jaxtyping
from beartype import BeartypeConf, beartype

_checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
_inner: dict[tuple[str, ...], Any] = {}  # jaxtyping hands over a function that does nothing but be checked
_decorate, _shapes = jaxtyping.jaxtyped, jaxtyping.jaxtyped("context")


def typechecker(function: Callable[..., Any]) -> Callable[..., Any]:
    """The check of a function's annotations; one for all that a `def` inside another function makes."""
    if "<locals>" not in function.__qualname__:
        return _checked(function)
    key = (function.__module__, function.__qualname__, *map(repr, function.__annotations__.items()))
    if key not in _inner:
        _inner[key] = _checked(function)
    return _inner[key]


def jaxtyped(*args: Any, **options: Any) -> Any:
    """The decorator of jaxtyping, faster: that one binds arguments, and checks them once more with the result."""
    if args:
        return _decorate(*args, **options)
    return lambda decorated: _faster(decorated) if _is_plain(decorated) else _decorate(decorated, **options)


def _is_plain(decorated: Any) -> bool:
    """Return whether it is a function of a module or class, whose shapes do not name an argument.

    A function that is made in each call takes longer to decorate.
    """
    if not inspect.isfunction(decorated) or inspect.isgeneratorfunction(decorated):
        return False
    return "<locals>" not in decorated.__qualname__ and "{" not in str([*decorated.__annotations__.values()])


def _faster(function: Callable[..., Any]) -> Callable[..., Any]:
    checked = _checked(function)

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with _shapes:  # in which a letter is the same size in all arguments and in the result
            return checked(*args, **kwargs)

    return call


jaxtyping.jaxtyped = jaxtyped
