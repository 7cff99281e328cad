"""Conformance checks as parameters of a pytest test."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from xai_core.testing.check import Check

if TYPE_CHECKING:
    import pytest


def parametrize_with_checks(*checks: Iterable[Check]) -> "pytest.MarkDecorator":
    """Return a decorator that runs a test function once for each check, with the argument `check`.

    A check with an expected failure is marked as a strict xfail: the test fails if the check passes.

    Parameters
    ----------
    checks
        Results of `check_explainer`, `check_metric`, `check_adapter`, `check_model_source` or `check_dataset`.
    """
    import pytest

    return pytest.mark.parametrize(
        "check",
        [
            pytest.param(
                check,
                id=f"{check.component}-{check.name}",
                marks=pytest.mark.xfail(reason=check.expected_failure, strict=True) if check.expected_failure else (),
            )
            for group in checks
            for check in group
        ],
    )
