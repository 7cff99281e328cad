"""Import rules: no import from a higher layer, no cycle, plugins import public names only, imports are light."""

import ast
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from support import subprocesses
from support.paths import ROOT

PLUGINS = sorted((ROOT / "plugins").glob("*/xai_*"))
EXAMPLES = [ROOT / "docs/example-plugin/xai_example", *sorted((ROOT / "xai_core/cli/templates").glob("*/new_plugin"))]

# Files and folders of `xai_core`. Each imports only from its own layer and from the layers above it in this list.
LAYERS = [
    {
        "batched",
        "channels",
        "configurable",
        "cost",
        "error_text",
        "errors",
        "file_limits",
        "files",
        "html",
        "lazy",
        "locks",
    }
    | {"memory_errors", "normalization", "options", "outputs", "precision", "printable", "spec"}
    | {"superpixels", "tensor_writes", "version"},
    {"data", "detection", "targets"},
    {"model"},
    {"model_scorer", "perturb", "predictions", "segments"},
    {"visualization"},
    {"saliency"},
    {"blending", "capture"},
    {"explainer", "metric"},
    {"isolation", "plugins"},
    {"adapter_cache", "checks", "image_inputs", "inputs", "plugin_adapters"},
    {"drawing", "saliency_maps"},
    {"engine", "evaluation", "explained_model", "explanation", "model_outputs", "several_inputs"},
    {"benchmarking", "testing"},
    {"report"},
    {"web_app"},
    {"cli"},
    {"", "plugin"},  # the two modules of public names; "" is `xai_core/__init__.py`
]
SHORTCUTS = {("xai_core.engine", "xai_core.web_app.launch")}
"""Imports from a higher layer, in a method that calls one of its functions for convenience: `Engine.app`."""
PUBLIC = {"xai_core", "xai_core.plugin", "xai_core.testing"}
"""Modules of xai-core that plugins may import."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


FILES = {module_name(path): path for path in (ROOT / "xai_core").rglob("*.py") if "templates" not in path.parts}


def imported(path: Path) -> set[str]:
    """Return the modules that a file imports anywhere: also in functions and for type checkers alone."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: use absolute imports"
            modules = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {module if module in FILES else str(node.module) for module in modules}
    return names


def dependencies(module: str) -> set[str]:
    """Return the modules of `xai_core` that a module imports, without shortcuts."""
    return {name for name in imported(FILES[module]) & FILES.keys() - {module} if (module, name) not in SHORTCUTS}


IMPORTS = {module: dependencies(module) for module in FILES}


def part(module: str) -> str:
    """Return the file or folder of `xai_core` that contains a module."""
    return f"{module}.".split(".")[1]


def layer(module: str) -> int:
    numbers = [number for number, parts in enumerate(LAYERS) if part(module) in parts]
    assert numbers, f"{module} is in no layer"
    return numbers[0]


def cycle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the nodes of a cycle, or an empty list."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("module", FILES)
def test_no_import_from_a_higher_layer(module: str) -> None:
    for name in IMPORTS[module]:
        assert layer(name) <= layer(module), f"{module} imports {name}"


def test_shortcuts_are_imported_when_they_are_called() -> None:
    for module, name in SHORTCUTS:
        assert name in imported(FILES[module])
        assert name not in subprocesses.printed(f"import sys, {module}; print([*sys.modules])")


def test_every_layer_contains_what_exists() -> None:
    assert set.union(*LAYERS) == {part(module) for module in FILES}


def test_no_cycle_between_files() -> None:
    assert cycle(IMPORTS) == []


def test_no_cycle_between_folders() -> None:
    folders: dict[str, set[str]] = {}
    for module, names in IMPORTS.items():
        folders.setdefault(part(module), set()).update({part(name) for name in names} - {part(module)})
    assert cycle(folders) == []


def test_a_cycle_is_found() -> None:
    assert cycle({"a": ["b"], "b": ["c"], "c": ["a"]}) != []


@pytest.mark.parametrize("module", FILES)
def test_the_core_imports_no_plugin(module: str) -> None:
    assert not {name.split(".")[0] for name in imported(FILES[module])} & {path.name for path in PLUGINS}


@pytest.mark.parametrize("package", [*PLUGINS, *EXAMPLES], ids=lambda path: str(path.relative_to(ROOT)))
def test_plugins_import_the_public_names_and_no_other_plugin(package: Path) -> None:
    others = {path.name for path in PLUGINS} - {package.name}
    for path in package.rglob("*.py"):
        names = imported(path)
        assert not {name.split(".")[0] for name in names} & others, path
        assert {name for name in names if name.split(".")[0] == "xai_core"} <= PUBLIC, path


@pytest.mark.parametrize("package", ["xai_core", "xai_core.plugin", *(path.name for path in PLUGINS)])
def test_importing_is_light(package: str) -> None:
    heavy = ["torchvision", "timm", "transformers", "captum", "ray", "skimage", "matplotlib", "typer", "rich", "jinja2"]
    heavy += ["pyarrow", "scipy", "datasets"]
    code = f"import sys, {package}; print([name for name in {heavy} if name in sys.modules])"
    assert subprocesses.printed(code).strip() == "[]"


def test_the_engine_takes_little_time_to_import_beyond_torch() -> None:
    code = "import time; start = time.perf_counter(); from xai_core import Engine; print(time.perf_counter() - start)"
    assert float(subprocesses.printed(code)) < 1.5
