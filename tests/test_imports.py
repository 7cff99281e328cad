"""What imports what: a light `import xai_core`, no import backwards, plugins apart from each other."""

import ast
from pathlib import Path

import pytest

from support import subprocesses as fresh
from support.paths import ROOT

CORE = sorted((ROOT / "xai_core").rglob("*.py"))
PLUGINS = sorted((ROOT / "plugins").glob("*/xai_*"))

# A layer imports itself and the layers before it. Names are files and folders of `xai_core`.
LAYERS = [
    {"configurable", "cost", "errors", "files", "locks", "outputs", "spec"},
    {"data", "targets"},
    {"model"},
    {"perturb", "saliency"},
    {"capture"},
    {"explainer", "metric"},
    {"isolation", "plugins"},
    {"adapter_cache", "checks"},
    {"engine", "plugin"},
    {"benchmarking", "testing"},
    {"report"},
    {"cli"},
]


def imported(path: Path) -> set[str]:
    """The modules that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: import by full name"
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def level(module: str) -> int:
    found = [i for i, layer in enumerate(LAYERS) if module in layer]
    assert found, f"{module} has no place in the order of imports"
    return found[0]


@pytest.mark.parametrize("path", CORE, ids=lambda path: str(path.relative_to(ROOT)))
def test_core_never_imports_backwards(path: Path) -> None:
    module = path.relative_to(ROOT / "xai_core").parts[0].removesuffix(".py")
    if module == "__init__":
        return
    for name in imported(path):
        parts = name.split(".")
        if parts[0] == "xai_core" and len(parts) > 1 and parts[1] != "__init__":
            known = any(parts[1] in layer for layer in LAYERS)
            assert known or len(parts) == 2, f"{path} imports {name}"
            if known:
                assert level(parts[1]) <= level(module), f"{module} imports {parts[1]}"
        assert parts[0] not in {p.name for p in PLUGINS}, f"the core imports the plugin {name}"


@pytest.mark.parametrize("package", PLUGINS, ids=lambda path: path.name)
def test_plugins_import_no_other_plugin(package: Path) -> None:
    others = {p.name for p in PLUGINS} - {package.name}
    for path in package.rglob("*.py"):
        assert not {name.split(".")[0] for name in imported(path)} & others


@pytest.mark.parametrize("package", ["xai_core", *(path.name for path in PLUGINS)])
def test_importing_is_light(package: str) -> None:
    heavy = ["torchvision", "timm", "transformers", "captum", "ray", "skimage", "matplotlib", "typer", "rich", "jinja2"]
    heavy += ["pyarrow", "scipy", "datasets"]
    code = f"import sys, {package}; print([name for name in {heavy} if name in sys.modules])"
    assert fresh.printed(code).strip() == "[]"


def test_importing_costs_little_beyond_torch() -> None:
    code = "import time; start = time.perf_counter(); import xai_core; print(time.perf_counter() - start)"
    assert float(fresh.printed(code)) < 1.5
