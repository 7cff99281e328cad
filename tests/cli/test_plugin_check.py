"""`xai plugin check` on a module that provides one component of each kind, and with invalid arguments."""

import re
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.command_line import Run, refused
from xai_core.errors import UnknownDatasetError, UnknownModelError
from xai_core.plugin import Dataset, DatasetSource, Evaluation, ModelSource, Probe
from xai_core.plugins.discovery import Plugin
from xai_core.plugins.registry import registry
from xai_core.testing.networks import convolutional_network


class OwnCAM(xai.Explainer):
    """Gradient times activation."""

    name = "own-cam"

    def __init__(self, layer: str | None = None) -> None:
        self.layer = layer

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return xai.Needs(activations=(self.layer or adapter.default_layer,), gradients=True)

    def explain(self, captured: xai.Captured) -> Tensor:
        return (captured.gradient() * captured.activation()).sum(1)


class Waiting(xai.Metric):
    """Mean of the map, transferred to the host, with the wrong direction."""

    name = "waiting"
    higher_is_better = True
    expected_failures: ClassVar[Mapping[str, str]] = {"better_map_scores_better": "it is wrong on purpose"}

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        return xai.MetricResult(torch.tensor(saliency.values.mean((1, 2)).tolist()))


class Calm(Waiting):
    """Mean of the map."""

    name = "calm"
    higher_is_better = False
    expected_failures: ClassVar[Mapping[str, str]] = {}

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        return xai.MetricResult(saliency.values.mean((1, 2)))


class Needy(xai.Metric):
    """Metric with a required option."""

    name = "needy"
    higher_is_better = True

    def __init__(self, file: str) -> None:
        self.file = file

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        raise AssertionError


class Net(nn.Sequential):
    """Model that `NetAdapter` supports."""


class NetAdapter(xai.ModelAdapter):
    """Adapter for `Net`."""

    @classmethod
    def suits(cls, model: nn.Module, probe: Probe) -> bool:
        return isinstance(model, Net)


class Nets(ModelSource):
    """Small models: `nets:one`, `nets:other`."""

    name = "nets"

    def names(self) -> Sequence[str]:
        return ("one", "other")

    def load(self, name: str | None, **options: Any) -> xai.LoadedModel:
        if name not in self.names():
            raise UnknownModelError(f"nets has no model {name!r}")
        model = convolutional_network()
        return xai.LoadedModel((Net(model) if name == "one" else model).eval(), preprocess)


def preprocess(image: Any) -> Tensor:
    if not isinstance(image, Tensor):
        pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        image = pixels.view(image.height, image.width, 3).permute(2, 0, 1) / 255
    return nn.functional.interpolate(image[None], (32, 32), mode="bilinear")[0]


class Somewhere(DatasetSource):
    """Dataset with a required name: `somewhere:NAME`."""

    name = "somewhere"

    def load(self, name: str | None, **options: Any) -> Dataset:
        if name is None:
            raise UnknownDatasetError("no name; expected `somewhere:NAME`")
        return xai.as_dataset([(torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0)), 1)])


def module(monkeypatch: pytest.MonkeyPatch, **components: Sequence[type[Any]]) -> str:
    """Register a module that provides classes, and return its name."""
    plugin = types.ModuleType("own_plugin")

    def hook(name: str, classes: Sequence[type[Any]]) -> Any:
        def register() -> Sequence[type[Any]]:
            return classes

        register.__name__ = f"xai_{name}"
        return xai.hookimpl(register)

    for name, classes in components.items():
        setattr(plugin, f"xai_{name}", hook(name, classes))
    monkeypatch.setitem(sys.modules, "own_plugin", plugin)
    return "own_plugin"


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_failures_are_printed_in_full_within_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(monkeypatch, metrics=[Waiting, Calm, Needy], datasets=[Somewhere])
    run = Run("plugin", "check", name)
    assert run.code == 1, run.err
    assert max(map(len, run.out.splitlines())) <= 80
    text = " ".join(run.out.split())
    assert re.search(r"metric waiting 17 15 1 ", text)
    assert re.search(r"metric calm 17 17 ", text)
    assert "waiting: avoids_host_transfers No value is copied to the host" in text
    assert "`evaluate` transfers values from the device to the host: test_plugin_check.py:" in text
    assert "waiting: better_map_scores_better" in text
    assert "it is wrong on purpose" in text
    assert "needy it has required options (file): pass `--only 'needy:option=value'`" in text
    assert "somewhere it cannot be loaded by name alone (no name" in text
    assert run.out.splitlines()[-1] == "34 checks: 32 passed, 1 failed, 1 expected failure; 2 components not checked"
    assert run.err == ""


def test_all_lists_passed_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(monkeypatch, metrics=[Waiting, Calm], datasets=[Somewhere])
    run = Run("plugin", "check", name, "--only", "calm", "--only", "somewhere", "--data", "somewhere:here", "--all")
    assert run.code == 0, run.out
    assert run.out.splitlines()[-1] == "27 checks: 27 passed"
    assert re.search(r"^calm +avoids_host_transfers +passed *$", run.out, re.MULTILINE)
    assert "waiting" not in run.out


def test_explainers_and_adapters_are_tested_on_the_models_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(monkeypatch, explainers=[OwnCAM], adapters=[NetAdapter], models=[Nets])
    run = Run("plugin", "check", name, "--only", "own-cam:layer=last", "--model", "nets:other")
    assert run.code == 0, run.out
    assert run.out.splitlines()[-1] == "18 checks: 18 passed"
    run = Run("plugin", "check", name, "--only", "NetAdapter", "--model", "nets:one")
    assert run.code == 0, run.out
    assert run.out.splitlines()[-1] == "10 checks: 10 passed"
    run = Run("plugin", "check", name, "--only", "NetAdapter", "--model", "nets:other")
    assert run.code == 1
    text = " ".join(run.out.split())
    assert "NetAdapter it supports none of nets:other: pass a model that it supports, `--model SPEC`" in text
    assert run.out.splitlines()[-1] == "0 checks: no check ran"


def test_a_class_may_define_its_test_spec(monkeypatch: pytest.MonkeyPatch) -> None:
    class SelfTested(NetAdapter):
        """Adapter for `Net`."""

        test_spec = "nets:one"
        expected_failures: ClassVar[Mapping[str, str]] = {"has_docstring": "the docstring is missing"}

    run = Run("plugin", "check", module(monkeypatch, adapters=[SelfTested], models=[Nets]))
    text = " ".join(run.out.split())
    assert re.search(r"adapter SelfTested 10 9 ", text)
    assert re.search(r"model nets 9 9 ", text)
    assert "SelfTested: has_docstring" in text
    assert "the check passes; remove it from `expected_failures`" in text
    assert run.code == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("xai-cat",),
            ("'xai-cat' is neither an installed package nor an importable module", "xai-attention, xai-cam"),
        ),
        (("pytest",), ("'pytest' has no function marked with `xai_core.hookimpl`",)),
        (("pytest-xdist",), ("has no entry point in the group `xai_core`", "xai-cam")),
        (("xai-cam", "--only", "grad-cat"), ("--only grad-cat", "did you mean 'grad-cam'")),
        (("xai-cam", "--data", "photos"), ("--data photos: this plugin provides no dataset source 'photos'",)),
        (("xai-cam", "--model", "no-such"), ("no installed plugin provides model 'no-such'",)),
        (("xai-cam", "--only", "grad-cam:depth=3"), ("it takes layer",)),
        (("xai-cam", "--only", "cam", "--model", "cifar-vit"), ("explainers are tested on images of 32x32 and 32x64",)),
    ],
)
def test_invalid_arguments_print_one_line(arguments: Sequence[str], words: Sequence[str]) -> None:
    refused(Run("plugin", "check", *arguments), *words)


def test_a_folder_is_not_a_plugin(tmp_path: Any) -> None:
    refused(Run("plugin", "check", tmp_path), "it is a folder or a file: install it")


def test_disabled_and_excluded_plugins_print_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Plugin("mine", "mine", "my-cam", "1.2", "ZeroDivisionError: division by zero")
    monkeypatch.setattr(registry(), "plugins", [*registry().plugins, broken])
    refused(Run("plugin", "check", "My_Cam"), "plugin my-cam 1.2 (mine) cannot be loaded: ZeroDivisionError")
    monkeypatch.setattr(registry(), "left_out", [Plugin("mine", "mine", "your-cam", "1.2")])
    monkeypatch.setenv("XAI_PLUGINS", "xai-cam")
    refused(Run("plugin", "check", "your-cam"), "XAI_PLUGINS=xai-cam excludes 'your-cam'")


def test_a_module_that_cannot_be_imported_prints_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "failing_plugin.py").write_text("import no_such_module")
    monkeypatch.syspath_prepend(tmp_path)
    refused(Run("plugin", "check", "failing_plugin"), "module failing_plugin cannot be imported", "'no_such_module'")


def test_an_unknown_expected_failure_prints_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Calm, "expected_failures", {"avoids_transfers": "why"})
    name = module(monkeypatch, metrics=[Calm])
    refused(Run("plugin", "check", name), "there is no check 'avoids_transfers'", "avoids_host_transfers")
