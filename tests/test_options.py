"""Checks of option values return valid values, and their errors show what was expected and received."""

import math
import re

import numpy as np
import pytest

from xai_core.errors import OptionError
from xai_core.options import check_choice, check_flag, check_integer, check_number, check_seed


@pytest.mark.parametrize("value", ["ten", "10", 2.5, None, 0, -1, True, math.nan])
def test_an_integer(value: object) -> None:
    assert check_integer("samples", 1, 1) == 1
    assert type(check_integer("samples", np.int64(3), 1)) is int
    with pytest.raises(OptionError, match=re.escape(f"samples must be an integer of at least 1, got {value!r}")):
        check_integer("samples", value, 1)


def test_an_integer_without_a_minimum() -> None:
    assert check_integer("layer", -3) == -3
    with pytest.raises(OptionError, match=r"layer must be an integer, got 1\.5"):
        check_integer("layer", 1.5)


@pytest.mark.parametrize(
    ("bounds", "valid", "invalid", "interval"),
    [
        ({}, [-1e9, 0, 3.5], [math.inf, math.nan, "1", None, True], "(-inf, inf)"),
        ({"minimum": 0}, [0, 1e300], [-1e-300, math.inf], "[0, inf)"),
        ({"above": 0}, [1e-300, 2], [0, -1, math.nan], "(0, inf)"),
        ({"minimum": 0, "below": 1}, [0, 0.999], [1, -0.001], "[0, 1)"),
        ({"above": 0, "maximum": 100}, [0.5, 100], [0, 100.5], "(0, 100]"),
    ],
)
def test_a_number(bounds: dict[str, float], valid: list[float], invalid: list[object], interval: str) -> None:
    for value in valid:
        checked = check_number("sigma", value, **bounds)
        assert (checked, type(checked)) == (value, type(value))
    for value in invalid:
        with pytest.raises(OptionError, match=re.escape(f"sigma must be a number in {interval}, got {value!r}")):
            check_number("sigma", value, **bounds)


def test_a_choice() -> None:
    assert check_choice("depth", 34, (18, 34)) == 34
    with pytest.raises(OptionError, match="score must be one of probability, logit, got 'softmax'"):
        check_choice("score", "softmax", ("probability", "logit"))


@pytest.mark.parametrize("value", [0, 1, "true", None])
def test_a_flag(value: object) -> None:
    assert check_flag("flip", True)
    with pytest.raises(OptionError, match=f"flip must be true or false, got {value!r}"):
        check_flag("flip", value)


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 1.0, "0", None, True])
def test_a_seed(value: object) -> None:
    assert check_seed(-(2**63)) == -(2**63)
    assert check_seed(np.int32(7)) == 7
    with pytest.raises(OptionError, match=re.escape(f"seed must be an integer of at most 64 bits, got {value!r}")):
        check_seed(value)
