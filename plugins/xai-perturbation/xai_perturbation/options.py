"""Checks of options that explainers share."""

from numbers import Integral
from typing import Any

from xai_core.plugin import OptionError


def whole(option: str, value: Any, least: int) -> int:
    """The value of an option that is a whole number, and not less than `least`.

    Raises
    ------
    OptionError
        Where it is not.
    """
    if not isinstance(value, Integral) or value < least:
        raise OptionError(f"{option} must be a whole number of at least {least}, got {value!r}")
    return int(value)


def kind_of_score(value: str) -> str:
    """The value of an option that says which score of a class is meant.

    Raises
    ------
    OptionError
        Where it is neither the probability nor the logit.
    """
    if value not in ("probability", "logit"):
        raise OptionError(f"score must be probability or logit, not {value!r}")
    return value


def chance(option: str, value: Any) -> float:
    """The value of an option that is a chance, between 0 and 1.

    Raises
    ------
    OptionError
        Where it is not.
    """
    if not isinstance(value, int | float) or not 0 < value < 1:
        raise OptionError(f"{option} must be a number between 0 and 1, got {value!r}")
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
