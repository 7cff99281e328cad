"""Checks of options that attributions share."""

import math
from numbers import Integral
from typing import Any

from xai_core.plugin import OptionError


def positive(**numbers: Any) -> None:
    """Refuse what is neither a whole number of at least one nor None, which stands for a default.

    Raises
    ------
    OptionError
        Where one is.
    """
    for name, number in numbers.items():
        if number is not None and not (isinstance(number, Integral) and int(number) >= 1):
            raise OptionError(f"{name} must be a whole number of at least 1, got {number!r}")


def number(option: str, value: Any, *, above: float = -math.inf, least: float = -math.inf) -> float:
    """The value of an option that is a finite number above one, or of at least another.

    Raises
    ------
    OptionError
        Where it is not.
    """
    if not (isinstance(value, int | float) and above < value < math.inf and least <= value):
        bound = f"above {above}" if above > -math.inf else f"of at least {least}"
        raise OptionError(f"{option} must be a number {bound}, got {value!r}")
    return value


def seed_of(value: Any) -> int:
    """The value of a seed: a whole number of 64 bits.

    Raises
    ------
    OptionError
        Where it is not.
    """
    if not (isinstance(value, Integral) and -(2**63) <= int(value) < 2**63):
        raise OptionError(f"seed must be a whole number of 64 bits, got {value!r}")
    return int(value)
