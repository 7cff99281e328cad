"""Fixtures of the tests of the command line."""

from pathlib import Path

import pytest

from support.tiny_models import register, save_photos


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty working folder, the source `tiny` of models, and a terminal of 80 columns."""
    register(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of two photos."""
    return save_photos(tmp_path / "photos")
