"""Checks of option values, for the `__init__` of explainers and metrics and the `load` of sources.

Each check returns the value. If the value is not valid, it raises an `OptionError` that names the option, states what
was expected and shows what was received.
"""

import math
from collections.abc import Collection
from numbers import Integral
from typing import Any, TypeVar

from xai_core.errors import OptionError

T = TypeVar("T")

SCORE_KINDS = ("probability", "logit")
"""Scores of a class: its softmax probability, or its logit."""


def check_integer(name: str, value: Any, minimum: int | None = None) -> int:
    """Return the value of an integer option.

    Raises
    ------
    OptionError
        If the value is not an integer, or is less than `minimum`.
    """
    integer = isinstance(value, Integral) and not isinstance(value, bool)
    if not integer or (minimum is not None and value < minimum):
        bound = "" if minimum is None else f" of at least {minimum}"
        raise OptionError(f"{name} must be an integer{bound}, got {value!r}")
    return int(value)


def check_number(
    name: str,
    value: Any,
    *,
    minimum: float = -math.inf,
    above: float = -math.inf,
    maximum: float = math.inf,
    below: float = math.inf,
) -> float:
    """Return the value of an option that is a finite number.

    Parameters
    ----------
    name
        Name of the option.
    value
        Value of the option.
    minimum, maximum
        Inclusive bounds.
    above, below
        Exclusive bounds.

    Raises
    ------
    OptionError
        If the value is not a finite number within the bounds.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and minimum <= value <= maximum and above < value < below):
        lower = f"[{minimum}" if minimum > above else f"({above}"
        upper = f"{maximum}]" if maximum < below else f"{below})"
        raise OptionError(f"{name} must be a number in {lower}, {upper}, got {value!r}")
    return value


def check_choice(name: str, value: Any, choices: Collection[T]) -> T:
    """Return the value of an option that takes one of a few values.

    Raises
    ------
    OptionError
        If the value is not one of `choices`.
    """
    if value not in choices:
        raise OptionError(f"{name} must be one of {', '.join(map(str, choices))}, got {value!r}")
    return value


def check_flag(name: str, value: Any) -> bool:
    """Return the value of an option that is true or false.

    Raises
    ------
    OptionError
        If the value is not a bool.
    """
    if not isinstance(value, bool):
        raise OptionError(f"{name} must be true or false, got {value!r}")
    return value


def check_seed(value: Any, name: str = "seed") -> int:
    """Return the value of an option that is a random seed, a signed integer of 64 bits.

    Raises
    ------
    OptionError
        If the value is not an integer, or does not fit into 64 bits.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or not -(2**63) <= int(value) < 2**63:
        raise OptionError(f"{name} must be an integer of at most 64 bits, got {value!r}")
    return int(value)
