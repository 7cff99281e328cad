"""Checks of options that explainers share."""

from numbers import Integral
from typing import Any

from xai_core.errors import OptionError


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
