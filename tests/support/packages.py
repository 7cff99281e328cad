"""Tests that need packages which are not installed everywhere."""

from importlib import metadata

import pytest


def is_installed(package: str) -> bool:
    try:
        metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def requires(package: str) -> pytest.MarkDecorator:
    """Skip a test if a package is not installed. The package is not imported."""
    return pytest.mark.skipif(not is_installed(package), reason=f"{package} is not installed")
