"""The public names: complete, importable without PyTorch, and the same for type checkers as at run time."""

import ast
import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest

import xai_core
from support import subprocesses
from xai_core import plugin

MOST_NAMES = 36


def test_dir_shows_the_public_names_and_the_version() -> None:
    assert sorted(dir(xai_core)) == sorted([*xai_core.__all__, "__version__"])
    assert len(xai_core.__all__) <= MOST_NAMES


def test_dir_is_the_same_after_every_submodule_is_imported() -> None:
    code = "import xai_core, xai_core.plugin, xai_core.benchmarking.summary, json; print(json.dumps(dir(xai_core)))"
    assert json.loads(subprocesses.printed(code)) == dir(xai_core)


@pytest.mark.parametrize("module", ["xai_core", "xai_core.plugin"])
def test_importing_imports_no_torch(module: str) -> None:
    code = f"import sys, {module}; print([name for name in ('torch', 'numpy', 'pluggy') if name in sys.modules])"
    # a new interpreter: the processes of `subprocesses` have already imported PyTorch
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize("module", [xai_core, plugin])
def test_every_public_name_resolves(module: ModuleType) -> None:
    for name in module.__all__:
        assert getattr(module, name) is getattr(module, name), name


@pytest.mark.parametrize("module", [xai_core, plugin])
def test_type_checkers_see_what_resolves_at_run_time(module: ModuleType) -> None:
    assert module.__file__ is not None
    tree = ast.parse(Path(module.__file__).read_text())
    [checked] = [node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    seen = set()
    for node in checked.body:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            assert alias.asname == alias.name, "`X as X` marks a name as public"
            assert getattr(module, alias.name) is getattr(import_module(str(node.module)), alias.name)
            seen.add(alias.name)
    assert seen == {*dir(module)}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Baselines'"):
        xai_core.Baselines  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError, match="Baselines"):
        from xai_core import Baselines  # type: ignore[attr-defined]  # noqa: F401


def test_version() -> None:
    assert xai_core.__version__ == version("xai-core")


def test_a_module_of_the_benchmark_package_can_be_imported() -> None:
    code = "import xai_core.benchmarking.summary; print(callable(xai_core.benchmark))"
    assert subprocesses.printed(code).strip() == "True"


def test_no_name_is_public_in_both_modules() -> None:
    assert not {*plugin.__all__} & {*xai_core.__all__}
