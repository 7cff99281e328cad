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
    assert packages(ROOT / "tests", "*/test_*.py") == core | {"docs", "faults"}
    assert packages(ROOT / "tests", "*/__init__.py") == {"support"}
    assert packages(ROOT / "tests", "*/*/*.py") == {"coverage", "misbehavior"}  # a file per library, and per kind


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: plugin.name)
def test_each_plugin_has_tests_and_runs_the_conformance_checks(plugin: Path) -> None:
    names = {path.name for path in (plugin / "tests").glob("test_*.py")}
    assert len(names) > 1
    assert "test_conformance.py" in names


def imported(path: Path) -> set[str]:
    """The modules that a file imports, and the names that it imports from them."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: import by full name"
            names |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def test_files_are_short() -> None:
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in FILES}
    assert not {path: count for path, count in lines.items() if count > MOST_LINES}, "split them by idea"


@pytest.mark.parametrize("kind", ["slow", "extended"])
def test_listed_tests_exist(kind: str) -> None:
    listed = (line.split("::") for line in (ROOT / "tests" / "support" / f"{kind}_tests.txt").read_text().split())
    assert not [f"{path}::{name}" for path, name in listed if f"def {name}(" not in read(ROOT / path)]


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_no_file_imports_a_test() -> None:
    tests = {"conftest", *(path.stem for path in FILES if path.stem.startswith("test_"))}
    found = {
        str(path.relative_to(ROOT)): [name for name in imported(path) if tests.intersection(name.split("."))]
        for path in FILES
    }
    assert not {path: names for path, names in found.items() if names}, "move what is shared to tests/support"


def test_tests_of_plugins_do_without_the_checkout() -> None:
    """They also run where only wheels are installed."""
    assert not [path for path in FILES if path.is_relative_to(ROOT / "plugins") and "support.paths" in imported(path)]
