"""The layout of the tests: they mirror the packages, stand alone, and are short."""

import ast
from pathlib import Path

import pytest

from support.paths import ROOT

PLUGINS = sorted(path for path in (ROOT / "plugins").iterdir() if (path / "pyproject.toml").exists())
FILES = sorted([*(ROOT / "tests").rglob("*.py"), *(ROOT / "plugins").glob("*/tests/**/*.py")])
MOST_LINES = 500


def packages(folder: Path, pattern: str) -> set[str]:
    return {path.parent.name for path in folder.glob(pattern)}


def test_folders_are_the_packages_of_the_core() -> None:
    core = packages(ROOT / "xai_core", "*/__init__.py")
    assert packages(ROOT / "tests", "*/test_*.py") == core | {"docs"}
    assert packages(ROOT / "tests", "*/__init__.py") == {"support"}
    assert not [*(ROOT / "tests").glob("*/*/*.py")]


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_each_plugin_has_tests_and_runs_the_conformance_checks(plugin: Path) -> None:
    names = {path.name for path in (plugin / "tests").glob("test_*.py")}
    assert len(names) > 1
    assert "test_conformance.py" in names


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_is_short_and_imports_no_test(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MOST_LINES, "split it by idea"
    imported = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "import by full name"
            imported |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    tests = {name for name in imported if any(part.startswith(("test_", "conftest")) for part in name.split("."))}
    assert not {name for name in tests if not name.startswith("xai_core.")}, "move what is shared to tests/support"
    if "plugins" in path.relative_to(ROOT).parts[:1]:
        assert "support.paths" not in imported, "these tests also run where only wheels are installed"
