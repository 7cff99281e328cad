"""Checks of options that several metrics share."""

from numbers import Integral
from typing import Any

from xai_core.errors import OptionError


def one_of(option: str, value: str, *known: str) -> str:
    """The value of an option that takes one of a few words.

    Raises
    ------
    OptionError
        Where it is none of them.
    """
    if value not in known:
        raise OptionError(f"{option} must be {', '.join(known[:-1])} or {known[-1]}, not {value!r}")
    return value


def at_least(least: int, option: str, value: Any) -> int:
    """The value of an option that is a whole number of something.

    Raises
    ------
    OptionError
        Where it is no whole number, or less.
    """
    if not isinstance(value, Integral) or value < least:
        raise OptionError(f"{option} must be a whole number of at least {least}, got {value!r}")
    return int(value)
