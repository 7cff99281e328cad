"""Parameters of tests."""

from collections.abc import Iterable
from typing import Any

import pytest


def quick(names: Iterable[str], few: Iterable[str]) -> list[Any]:
    """Names of which a quick run, without slow tests, takes the few only."""
    kept = {*few}
    return [name if name in kept else pytest.param(name, marks=pytest.mark.slow) for name in names]
