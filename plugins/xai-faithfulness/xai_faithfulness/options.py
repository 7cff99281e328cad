"""Checks of options that several metrics share."""

from collections.abc import Callable
from numbers import Integral
from typing import Any

from xai_core.plugin import OptionError


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


def number(option: str, value: Any, fits: Callable[[Any], bool], said: str) -> float:
    """The value of an option that is a number that fits, which `said` says in words.

    Raises
    ------
    OptionError
        Where it is no number, or does not fit.
    """
    if not isinstance(value, int | float) or not fits(value):
        raise OptionError(f"{option} must be a number {said}, got {value!r}")
    return value


def flag(option: str, value: Any) -> bool:
    """The value of an option that is true or false.

    Raises
    ------
    OptionError
        Where it is neither.
    """
    if not isinstance(value, bool):
        raise OptionError(f"{option} must be true or false, got {value!r}")
    return value


def seed_of(value: Any) -> int:
    """The value of a seed: a whole number of 64 bits.

    Raises
    ------
    OptionError
        Where it is not.
    """
    if not isinstance(value, Integral) or not -(2**63) <= int(value) < 2**63:
        raise OptionError(f"seed must be a whole number of 64 bits, got {value!r}")
    return int(value)
