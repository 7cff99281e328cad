"""`xai plugin check`, on a module that gives one of each kind, and on what is no plugin."""

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
    """The mean of the map, read on the host, and with a sign that is wrong."""

    name = "waiting"
    higher_is_better = True
    expected_failures: ClassVar[Mapping[str, str]] = {"better_map_scores_better": "it is wrong on purpose"}

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        return xai.MetricResult(torch.tensor(saliency.values.mean((1, 2)).tolist()))


class Calm(Waiting):
    """The mean of the map."""

    name = "calm"
    higher_is_better = False
    expected_failures: ClassVar[Mapping[str, str]] = {}

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        return xai.MetricResult(saliency.values.mean((1, 2)))


class Needy(xai.Metric):
    """A metric that cannot be made by its name alone."""

    name = "needy"
    higher_is_better = True

    def __init__(self, file: str) -> None:
        self.file = file

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        raise AssertionError


class Net(nn.Sequential):
    """A model that `NetAdapter` is for."""


class NetAdapter(xai.ModelAdapter):
    """For `Net`."""

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
    """Samples of a place: `somewhere:PLACE`."""

    name = "somewhere"

    def load(self, name: str | None, **options: Any) -> Dataset:
        if name is None:
            raise UnknownDatasetError("no place is given; expected `somewhere:PLACE`")
        return xai.as_dataset([(torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0)), 1)])


def module(monkeypatch: pytest.MonkeyPatch, **given: Sequence[type[Any]]) -> str:
    """A module that gives classes, as if it were a file."""
    made = types.ModuleType("own_plugin")

    def hook(name: str, classes: Sequence[type[Any]]) -> Any:
        def give() -> Sequence[type[Any]]:
            return classes

        give.__name__ = f"xai_{name}"
        return xai.hookimpl(give)

    for name, classes in given.items():
        setattr(made, f"xai_{name}", hook(name, classes))
    monkeypatch.setitem(sys.modules, "own_plugin", made)
    return "own_plugin"


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_what_is_broken_is_said_whole_in_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(monkeypatch, metrics=[Waiting, Calm, Needy], datasets=[Somewhere])
    run = Run("plugin", "check", name)
    assert run.code == 1, run.err
    assert max(map(len, run.out.splitlines())) <= 80
    said = " ".join(run.out.split())
    assert re.search(r"metric waiting 17 15 1 ", said)
    assert re.search(r"metric calm 17 17 ", said)
    assert "waiting: avoids_host_transfers No value is copied to the host" in said
    assert "`evaluate` transfers values from the device to the host: test_plugin_check.py:" in said
    assert "waiting: better_map_scores_better" in said
    assert "it is wrong on purpose" in said
    assert "needy it has required options (file): pass `--only 'needy:option=value'`" in said
    assert "somewhere its name alone loads nothing (no place" in said
    assert run.out.splitlines()[-1] == "34 checks: 32 passed, 1 failed, 1 expected failure; 2 components not checked"
    assert run.err == ""


def test_what_is_kept_ends_well_and_every_check_can_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(monkeypatch, metrics=[Waiting, Calm], datasets=[Somewhere])
    run = Run("plugin", "check", name, "--only", "calm", "--only", "somewhere", "--data", "somewhere:here", "--all")
    assert run.code == 0, run.out
    assert run.out.splitlines()[-1] == "27 checks: 27 passed"
    assert re.search(r"^calm +avoids_host_transfers +passed *$", run.out, re.MULTILINE)
    assert "waiting" not in run.out


def test_explainers_and_adapters_are_tried_on_the_models_that_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    name = module(monkeypatch, explainers=[OwnCAM], adapters=[NetAdapter], models=[Nets])
    run = Run("plugin", "check", name, "--only", "own-cam:layer=last", "--model", "nets:other")
    assert run.code == 0, run.out
    assert run.out.splitlines()[-1] == "17 checks: 17 passed"
    run = Run("plugin", "check", name, "--only", "NetAdapter", "--model", "nets:one")
    assert run.code == 0, run.out
    assert run.out.splitlines()[-1] == "9 checks: 9 passed"
    run = Run("plugin", "check", name, "--only", "NetAdapter", "--model", "nets:other")
    assert run.code == 1
    said = " ".join(run.out.split())
    assert "NetAdapter it supports none of nets:other: pass a model that it supports, `--model SPEC`" in said
    assert run.out.splitlines()[-1] == "0 checks: no check ran"


def test_a_class_may_say_what_it_is_tried_with(monkeypatch: pytest.MonkeyPatch) -> None:
    class Told(NetAdapter):
        """For `Net`."""

        test_spec = "nets:one"
        expected_failures: ClassVar[Mapping[str, str]] = {"has_docstring": "it does say"}

    run = Run("plugin", "check", module(monkeypatch, adapters=[Told], models=[Nets]))
    said = " ".join(run.out.split())
    assert re.search(r"adapter Told 9 8 ", said)
    assert re.search(r"model nets 9 9 ", said)
    assert "Told: has_docstring" in said
    assert "the check passes; remove it from `expected_failures`" in said
    assert run.code == 1


@pytest.mark.parametrize(
    ("given", "words"),
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
def test_what_cannot_be_checked_is_one_line(given: Sequence[str], words: Sequence[str]) -> None:
    refused(Run("plugin", "check", *given), *words)


def test_a_folder_is_no_plugin(tmp_path: Any) -> None:
    refused(Run("plugin", "check", tmp_path), "it is a folder or a file: install it")


def test_a_plugin_that_is_broken_or_left_out_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Plugin("mine", "mine", "my-cam", "1.2", "ZeroDivisionError: division by zero")
    monkeypatch.setattr(registry(), "plugins", [*registry().plugins, broken])
    refused(Run("plugin", "check", "My_Cam"), "plugin my-cam 1.2 (mine) cannot be loaded: ZeroDivisionError")
    monkeypatch.setattr(registry(), "left_out", [Plugin("mine", "mine", "your-cam", "1.2")])
    monkeypatch.setenv("XAI_PLUGINS", "xai-cam")
    refused(Run("plugin", "check", "your-cam"), "XAI_PLUGINS=xai-cam excludes 'your-cam'")


def test_a_module_that_fails_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    (tmp_path / "failing_plugin.py").write_text("import no_such_module")
    monkeypatch.syspath_prepend(tmp_path)
    refused(Run("plugin", "check", "failing_plugin"), "module failing_plugin cannot be imported", "'no_such_module'")


def test_an_expected_failure_of_no_check_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Calm, "expected_failures", {"avoids_transfers": "why"})
    name = module(monkeypatch, metrics=[Calm])
    refused(Run("plugin", "check", name), "there is no check 'avoids_transfers'", "avoids_host_transfers")
