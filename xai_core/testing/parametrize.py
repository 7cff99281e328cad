"""Checks as cases of a pytest test."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from xai_core.testing.check import Check

if TYPE_CHECKING:
    import pytest


def parametrize_with_checks(*checks: Iterable[Check]) -> "pytest.MarkDecorator":
    """Make a test of one argument, `check`, run once for each check.

    A check that is expected to fail is marked so, with its reason, and fails where it passes.

    Parameters
    ----------
    checks
        What `check_explainer`, `check_metric` and the others give.
    """
    import pytest

    return pytest.mark.parametrize(
        "check",
        [
            pytest.param(
                check,
                id=f"{check.subject}-{check.name}",
                marks=pytest.mark.xfail(reason=check.expected_failure, strict=True) if check.expected_failure else (),
            )
            for some in checks
            for check in some
        ],
    )
