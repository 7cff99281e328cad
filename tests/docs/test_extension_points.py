"""Every extension point is documented, and its example on the page works as an installed plugin."""

import ast
import inspect
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

import xai_core as xai
from support.paths import ROOT
from support.plugin_environment import Environment
from xai_core.plugin import DatasetSource, Evaluation, Gated, ModelSource
from xai_core.plugins import hookspecs
from xai_core.plugins.loader import KINDS

PAGE = (ROOT / "docs" / "plugins" / "extension-points.md").read_text()
HOOKS = {name: hook for name, hook in vars(hookspecs).items() if hasattr(hook, "xai_core_spec")}


def section(hook: str) -> str:
    """Return the section of the page on a hook."""
    [text] = re.findall(rf"^## `{hook}\(.*?(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return text


def example(hook: str) -> str:
    """Return the example on the page that implements a hook."""
    [text] = re.findall(r"^```python\n(.*?)^```", section(hook), re.DOTALL | re.MULTILINE)
    return text


def test_the_loader_calls_every_hook() -> None:
    assert sorted(HOOKS) == sorted(hook for hook, _ in KINDS.values())


def test_every_hook_is_documented_with_its_arguments() -> None:
    documented = re.findall(r"^## `(\w+)\((.*)\)`$", PAGE, re.MULTILINE)
    assert documented == [(name, ", ".join(inspect.signature(hook).parameters)) for name, hook in HOOKS.items()]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_has_an_example_and_a_test(hook: str) -> None:
    implemented = [node for node in ast.parse(example(hook)).body if isinstance(node, ast.FunctionDef)]
    assert hook in [node.name for node in implemented if "xai.hookimpl" in map(ast.unparse, node.decorator_list)]
    assert callable(globals().get(f"test_{hook}")), f"write test_{hook}, which installs `example({hook!r})` and uses it"


DOCUMENTED = [
    ("xai_explainers", xai.Explainer),
    ("xai_explainers", xai.Needs),
    ("xai_explainers", xai.Captured),
    ("xai_explainers", Gated),
    ("xai_metrics", xai.Metric),
    ("xai_metrics", Evaluation),
    ("xai_metrics", xai.MetricResult),
    ("xai_adapters", xai.ModelAdapter),
    ("xai_models", ModelSource),
    ("xai_models", xai.LoadedModel),
    ("xai_datasets", DatasetSource),
    ("xai_datasets", xai.Sample),
]


@pytest.mark.parametrize(("hook", "class_"), DOCUMENTED)
def test_public_attributes_are_documented(hook: str, class_: type) -> None:
    declared = [field.name for field in fields(class_)] if is_dataclass(class_) else []
    own = [*vars(class_), *vars(class_).get("__annotations__", ()), *declared]
    attributes = re.search(r"\nAttributes\n-+\n(.*)", inspect.getdoc(class_) or "", re.DOTALL)
    listed = re.findall(r"^(\w+)$", attributes[1], re.MULTILINE) if attributes else []
    for name in {*own, *listed} - {
        "name",
        "all",
        "of_targets",
    }:  # `name` is documented once for all, and only the engine uses the other two
        if not name.startswith("_"):
            assert re.search(rf"`[^`\n]*\b{name}\b[^`\n]*`", section(hook)), f"{hook}: {class_.__name__}.{name}"


@pytest.fixture
def installed(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """Install the example. Return a function that runs code, and returns the JSON on the last line of its output."""
    environment = Environment(tmp_path)
    environment.install("their-plugin", example(request.function.__name__.removeprefix("test_")))

    def run(code: str) -> Any:
        return environment.run(FAILURES + inspect.cleandoc(code))

    return run


FAILURES = """
from xai_core import testing
from xai_core.plugins.registry import registry

def failures(checks):
    return [f"{result.check.name}: {result.message}" for result in testing.run_checks(checks) if not result.ok]

"""


def test_xai_explainers(installed: Any) -> None:
    shape, spec, failures = installed(
        """
        from xai_core.testing.networks import convolutional_network, random_images
        [saliency] = xai.Engine(convolutional_network()).explain(random_images(), "positive-cam:power=2").values()
        spec = xai.create_explainer("positive-cam:power=2").spec
        print(json.dumps([list(saliency.values.shape), spec, failures(testing.check_explainer("positive-cam"))]))
        """
    )
    assert (shape, spec, failures) == ([2, 32, 32], "positive-cam:power=2", [])


def test_xai_metrics(installed: Any) -> None:
    values, failures = installed(
        """
        from xai_core.testing.networks import convolutional_network, random_images
        engine, images = xai.Engine(convolutional_network()), random_images()
        scores = engine.evaluate(images, {"all": images.abs().sum(1)}, ["kept-score", "kept-score:share=1"])["all"]
        values = [score.values.tolist() for score in scores.values()]
        print(json.dumps([values, failures(testing.check_metric("kept-score"))]))
        """
    )
    assert values[1] == [1, 1]
    assert values[0] != values[1]
    assert failures == []


def test_xai_adapters(installed: Any) -> None:
    adapter, other_adapter, shape, failures = installed(
        """
        import their_plugin
        from xai_core.testing.networks import convolutional_network, random_images
        model, images = their_plugin.Strips().eval(), random_images()
        adapters = [type(xai.Engine(each).adapter(images)).__name__ for each in (model, convolutional_network())]
        [saliency, _] = xai.Engine(model).explain(images, ["grad-cam", "ablation-cam"]).values()
        failed = failures(testing.check_adapter(their_plugin.StripsAdapter, model))
        print(json.dumps([*adapters, list(saliency.raw.shape), failed]))
        """
    )
    assert (adapter, other_adapter, shape, failures) == ("StripsAdapter", "ConvolutionalAdapter", [2, 8, 8], [])


def test_xai_models(installed: Any) -> None:
    names, classes, message, failures = installed(
        """
        from xai_core.testing.networks import random_images
        loaded = xai.load_model("plain:small,classes=5")
        try:
            xai.load_model("plain:small,colors=5")
        except xai.XAIError as error:
            message = str(error)
        names = [name for name in xai.list_models() if name.startswith("plain:")]
        failed = failures(testing.check_model_source(registry().entries["models"]["plain"].made_by))
        print(json.dumps([names, list(loaded.model(random_images()).shape), message, failed]))
        """
    )
    assert (names, classes, failures) == (["plain:large", "plain:small"], [2, 5], [])
    assert "it takes classes" in message


def test_xai_datasets(installed: Any) -> None:
    count, targets, message, failures = installed(
        """
        data = xai.load_dataset("squares:count=7")
        try:
            xai.load_dataset("squares:count=0")
        except xai.XAIError as error:
            message = str(error)
        failed = failures(testing.check_dataset(registry().entries["datasets"]["squares"].made_by))
        print(json.dumps([len(data), [data[i].target for i in range(3)], message, failed]))
        """
    )
    assert (count, targets, message) == (7, [0, 1, 0], "count must be at least 1, got 0")
    assert failures == []
