"""Values that plugins return are checked before use, and the error names the distribution.

The catalogue of misbehavior contains further values, also in benchmarks.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import xai_core as xai
from support.benchmark_runs import Brightness, Speckles, run
from support.misbehaving import THEIRS, TheirCAM, TheirScore
from support.models import SmallCNN, three_images
from xai_core.errors import PluginContractError, PluginWarning
from xai_core.plugin import DatasetSource, ModelSource, Relevance
from xai_core.plugins.loader import Entry
from xai_core.plugins.registry import registry

pytestmark = pytest.mark.usefixtures("their_plugin")
CPU = torch.device("cpu")


def explain(explainer: xai.Explainer, **options: Any) -> dict[str, xai.Saliency]:
    return xai.Engine(SmallCNN().eval()).explain(three_images(), [explainer], **options)


def evaluate(metric: xai.Metric) -> Any:
    engine, images = xai.Engine(SmallCNN().eval()), three_images()
    return engine.evaluate(images, engine.explain(images, "grad-cam"), [metric])


def needs(**wrong: Any) -> xai.Needs:
    """Needs with fields of wrong types, which the type checker of the tests does not see."""
    made = xai.Needs()
    for name, value in wrong.items():
        object.__setattr__(made, name, value)
    return made


@pytest.mark.parametrize("passes", [math.inf, None, 2.0, True])
def test_forward_passes_are_an_integer(passes: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TheirCAM, "forward_passes", lambda self, adapter: passes)
    message = "the `forward_passes` of their-cam of their-cam 2.3 must return an integer from 0 to 1,000,000,000,000"
    with pytest.raises(PluginContractError, match=message):
        explain(TheirCAM(), costs=True)


def test_a_number_that_cannot_be_printed_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TheirCAM, "forward_passes", lambda self, adapter: 10**5000)
    with pytest.raises(PluginContractError, match=r"it returned a value of type int$"):
        explain(TheirCAM(), costs=True)


def test_forward_passes_of_numpy_are_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TheirCAM, "forward_passes", lambda self, adapter: np.int64(3))
    cost = explain(TheirCAM(), costs=True)["their-cam"].cost
    assert cost is not None
    assert type(cost.forward_passes) is int


NEEDS: list[dict[str, Any]] = [
    {"activations": 3},
    {"activations": "last"},
    {"block_scores": (3,)},
    {"rivals": (0, "two")},
    {"parts": (3,)},
]


@pytest.mark.parametrize("fields", NEEDS, ids=str)
def test_needs_have_the_declared_types(fields: dict[str, Any]) -> None:
    message = "the `needs` of their-cam of their-cam 2.3 must return xai_core.Needs with fields of the declared types"
    with pytest.raises(PluginContractError, match=f"^{message}; got "):
        explain(TheirCAM(ask=needs(**fields)))


def test_parts_are_on_the_models_device() -> None:
    with pytest.raises(PluginContractError, match=r"^their-cam of their-cam 2\.3 must return parts .* on meta"):
        explain(TheirCAM(lambda maps: Relevance(maps, maps[:, None].to("meta"))))


def curve(scores: Tensor, change: Callable[[Tensor], Any] = lambda t: t, fractions: Any = None) -> xai.MetricResult:
    result = xai.MetricResult(scores)
    places = torch.linspace(0, 1, 2) if fractions is None else fractions
    for name, value in (("curve", change(torch.stack([scores, scores], 1))), ("fractions", places)):
        object.__setattr__(result, name, value)
    return result


RESULTS: dict[str, tuple[Callable[[Tensor], xai.MetricResult], str]] = {
    "complex curve": (lambda scores: curve(scores, lambda c: c + 0j), "must return curve .* torch.complex64"),
    "curve elsewhere": (lambda scores: curve(scores, lambda c: c.to("meta")), "must return curve .* on meta"),
    "fractions elsewhere": (
        lambda scores: curve(scores, fractions=torch.zeros(2, device="meta")),
        "must return fractions .* on meta",
    ),
}


@pytest.mark.parametrize("case", RESULTS)
def test_curves_are_dense_numbers_on_the_models_device(case: str) -> None:
    give, message = RESULTS[case]
    with pytest.raises(PluginContractError, match=f"^their-score of their-cam 2.3 for maps of grad-cam {message}"):
        evaluate(TheirScore(give))


@pytest.mark.parametrize("direction", [np.bool_(True), "yes", None, 1, torch.tensor(True)], ids=repr)
def test_a_direction_is_true_or_false(direction: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TheirScore, "higher_is_better", direction)
    message = "the `higher_is_better` of their-score of their-cam 2.3.* must be True or False; it is "
    with pytest.raises(PluginContractError, match=message):
        evaluate(TheirScore())
    with pytest.raises(PluginContractError, match=message):
        run(tmp_path / "run", Speckles(2), metrics=[TheirScore()])


def test_a_metric_without_a_direction_is_no_part_of_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(TheirScore, "higher_is_better")
    entries = registry().entries["metrics"]
    for name in {*entries} - {"their-score", "complexity"}:
        monkeypatch.delitem(entries, name)
    found = run(tmp_path / "run", Speckles(2), methods="grad-cam", metrics="all")
    assert [*found.manifest.metrics] == ["complexity"]
    assert "`higher_is_better` of their-score of their-cam 2.3 must be True" in found.manifest.skipped["their-score"]


@pytest.mark.parametrize("name", [3, None, ["a"], b"cam", "a\udce9", "a\nb", "a" * 5000, "", "../x", "Their CAM"])
def test_names_are_words_with_hyphens(name: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TheirCAM, "name", name)
    monkeypatch.setattr(TheirScore, "name", name)
    message = "^their-cam 2.3: {}.name must be lower case with hyphens, .* at most 100 characters; got .{{1,40}}$"
    for act, kind in (
        (lambda: explain(TheirCAM()), "TheirCAM"),
        (lambda: evaluate(TheirScore()), "TheirScore"),
        (lambda: run(tmp_path / "methods", Speckles(2), methods=[TheirCAM()]), "TheirCAM"),
        (lambda: run(tmp_path / "metrics", Speckles(2), metrics=[TheirScore()]), "TheirScore"),
    ):
        with pytest.raises(PluginContractError, match=message.format(kind)):
            act()


@pytest.mark.parametrize("spec", [3, None, ["a"], b"cam"])
def test_specs_are_texts(spec: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TheirCAM, "spec", spec)
    with pytest.raises(PluginContractError, match=r"their-cam 2\.3: TheirCAM\.spec must be a string; got"):
        run(tmp_path / "run", Speckles(2), methods=[TheirCAM()])
    with pytest.raises(PluginContractError, match=r"their-cam 2\.3: TheirCAM\.spec must be a string; got"):
        xai.Engine(SmallCNN().eval()).explain(three_images(), [TheirCAM(), TheirCAM()])


def test_specs_that_are_no_utf_8_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TheirCAM, "spec", "their-cam:file=caf\udce9")
    found = run(tmp_path / "run", Speckles(2), methods=[TheirCAM()], metrics=[Brightness()])
    assert {row.method for row in found} == {r"their-cam:file=caf\udce9"}


class Source(ModelSource, DatasetSource):
    """Returns what a test sets."""

    name = "theirs"
    given: Any = None

    def names(self) -> Any:
        return self.given

    def load(self, name: str | None) -> Any:  # type: ignore[override]
        return self.given


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> type[Source]:
    for kind in ("models", "datasets"):
        monkeypatch.setitem(registry().entries[kind], "theirs", Entry("theirs", Source, THEIRS))
    return Source


@pytest.mark.parametrize("given", [None, 3, "model", torch.zeros(2)], ids=repr)
def test_sources_return_models_and_data(given: object, source: type[Source], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "given", given)
    expected = "`load` of the source theirs of their-cam 2.3 must return a"
    with pytest.raises(PluginContractError, match=f"{expected} LoadedModel; it returned {type(given).__name__}"):
        xai.load_model("theirs")
    if isinstance(given, int | None):
        with pytest.raises(PluginContractError, match=f"{expected} dataset with `__len__` and `__getitem__`"):
            xai.load_dataset("theirs")


@pytest.mark.parametrize("names", [None, 3, "model", [3], [b"model"]])
def test_names_of_models_are_texts(names: object, source: type[Source], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "given", names)
    message = "source theirs of their-cam 2.3 failed.* must return a sequence of strings; it returned"
    with pytest.warns(PluginWarning, match=message):
        assert "efficientnet-lite0" in xai.list_models()
