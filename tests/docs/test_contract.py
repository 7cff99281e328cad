"""The contract page lists every name, signature and default that plugins use.

Run this file as a script, with `tests` on the path, to rewrite the listings of the page after an intended change.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import xai_core as xai
from support.paths import ROOT
from xai_core import errors, plugin, testing
from xai_core.plugin import (
    CONTRACT,
    AttentionLayer,
    AttentionPath,
    AttentionReader,
    BoundTarget,
    Dataset,
    DatasetSource,
    Decoder,
    Evaluation,
    Features,
    Gate,
    Gated,
    Locations,
    ModelScorer,
    ModelSource,
    Probe,
    Relevance,
    ScoreReader,
    SharedModel,
    Spec,
    Target,
)
from xai_core.plugins import hookspecs

PATH = ROOT / "docs" / "plugins" / "contract.md"
PAGE = PATH.read_text()
HOOKS = [hook for hook in vars(hookspecs).values() if hasattr(hook, "xai_core_spec")]
EXPLAINERS = [xai.Explainer, xai.Needs, xai.Captured, Relevance]
PARTS = [
    AttentionLayer,
    AttentionPath,
    AttentionReader,
    Decoder,
    Gate,
    Gated,
    ModelScorer,
    SharedModel,
    BoundTarget,
    Target,
    ScoreReader,
]
METRICS = [xai.Metric, Evaluation, xai.MetricResult, xai.Saliency]
ADAPTERS = [xai.ModelAdapter, Probe, Features, Locations]
SOURCES = [ModelSource, xai.LoadedModel, DatasetSource, Dataset, xai.Sample, Spec]
FUNCTIONS = [xai.create_explainer, xai.create_metric]
FUNCTIONS += [value for value in (getattr(plugin, name) for name in plugin.__all__) if inspect.isfunction(value)]
CONFORMANCE = [getattr(testing, name) for name in testing.__all__]
ERRORS = [one for one in vars(errors).values() if isinstance(one, type)]
SURFACE: dict[str, list[Any]] = {
    "Hooks": HOOKS,
    "Explainers": EXPLAINERS,
    "Inputs of explainers": PARTS,
    "Metrics": METRICS,
    "Adapters": ADAPTERS,
    "Sources": SOURCES,
    "Functions": FUNCTIONS,
    "Conformance tests": CONFORMANCE,
    "Errors": ERRORS,
}
TYPES = {"Baseline", "DeviceOption", "Layer", "TargetLike", "Value"}
"""Names of types that are no classes."""
CALLED = {"__call__", "__getitem__", "__len__"}
FOR_USERS = {
    *("AttentionRecord", "Box", "Contrast", "Engine", "Region", "Run", "Similarity", "Text", "Token"),
    *("app", "as_dataset", "benchmark", "draw", "load_image", "model_mask", "show"),
    *("list_datasets", "list_explainers", "list_metrics", "list_models", "load_dataset", "load_model"),
}
"""Public names that plugins have no need of; they are promised to users, by the version of xai-core."""


def surface(thing: Any) -> str:
    """A class with its public attributes and signatures, or a function's signature, as they are written."""
    if not inspect.isclass(thing):
        return signature(tree(thing))
    if issubclass(thing, BaseException):
        return f"{thing.__name__}({', '.join(base.__name__ for base in thing.__bases__)})"
    return "\n".join([f"class {thing.__name__}", *(f"    {member}" for member in members(thing))])


def members(made_by: type) -> list[str]:
    """The public ones, those of bases first; what a subclass declares again counts."""
    found: dict[str, str] = {}
    for one in reversed([base for base in made_by.__mro__ if base.__module__.startswith("xai_core.")]):
        attributes = re.search(r"\nAttributes\n-+\n(.*)", inspect.getdoc(one) or "", re.DOTALL)
        found |= {name: name for name in re.findall(r"^(\w+)$", attributes[1], re.MULTILINE)} if attributes else {}
        found |= dict(declared_failures(tree(one)))
    return [said for name, said in found.items() if not name.startswith("_") or name in CALLED]


def declared_failures(class_: Any) -> Iterator[tuple[str, str]]:
    for node in class_.body:
        match node:
            case ast.AnnAssign():
                yield ast.unparse(node.target), ast.unparse(node)
            case ast.Assign(targets=[ast.Name() as name]):
                yield name.id, ast.unparse(node)
            case ast.FunctionDef():
                yield node.name, signature(node)


def signature(function: Any) -> str:
    said = f"{function.name}({ast.unparse(function.args)})"
    if "property" in map(ast.unparse, function.decorator_list):
        said = function.name
    return f"{said} -> {ast.unparse(function.returns)}" if function.returns else said


def tree(thing: Any) -> Any:
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


LISTING = r"(^### {}\n.*?^```text\n)(.*?)(?=^```)"
FLAGS = re.DOTALL | re.MULTILINE
COMMAND = f"PYTHONPATH=tests uv run python {Path(__file__).relative_to(ROOT)}"


def listing(heading: str) -> str:
    """Return the listing below a heading, from the code."""
    blank = "\n\n" if any(map(inspect.isclass, SURFACE[heading])) and heading != "Errors" else "\n"
    return blank.join(map(surface, SURFACE[heading])) + "\n"


def rewrite() -> None:
    """Write the listings to the page."""
    page = PAGE
    for heading in SURFACE:
        text = listing(heading)
        page = re.sub(LISTING.format(heading), lambda match, text=text: match[1] + text, page, flags=FLAGS)
    PATH.write_text(page)


@pytest.mark.parametrize("heading", SURFACE)
def test_the_page_lists_the_names_of_plugins(heading: str) -> None:
    [(_, documented)] = re.findall(LISTING.format(heading), PAGE, FLAGS)
    assert documented == listing(heading), (
        "the names or signatures for plugins have changed. If a working plugin must change, increase CONTRACT and add "
        f"a changelog entry. In any case, update the page: `{COMMAND}`"
    )


def test_the_page_states_the_version_of_the_contract() -> None:
    assert f"`xai_core.plugin.CONTRACT`, is {CONTRACT}." in PAGE
    assert re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE) == [str(i) for i in range(1, CONTRACT + 1)]


def test_every_public_name_is_for_plugins_or_for_users() -> None:
    for_plugins = {item.__name__ for items in SURFACE.values() for item in items}
    assert {*xai.__all__, *plugin.__all__} - for_plugins - FOR_USERS - TYPES == {
        "CHANNELS",
        "CONTRACT",
        "SCORE_KINDS",
        "hookimpl",
    }


if __name__ == "__main__":
    rewrite()
