"""Each plugin of the catalogue costs its own results in an engine, and the error names it."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

import xai_core as xai
from support.misbehavior import ADAPTERS, IN_CALLS, Kind, Misbehavior
from support.misbehavior.registering import register_adapter
from support.models import made, three_images
from support.observing import everything
from xai_core.errors import PluginWarning
from xai_core.isolation.error_context import message_with_notes, responsible_call
from xai_core.isolation.process_state import Snapshot

METHODS = ["rise:masks=4", "grad-cam", "random"]
METRICS = ["deletion:steps=2", "average-drop"]
CASES = [(kind, case) for kind in IN_CALLS for case in kind.cases]


def everyones(kind: str, plugin: Any) -> list[Any]:
    """Return the methods or metrics with the plugin in their midst, if it is one of them."""
    names, base = {"explainers": (METHODS, xai.Explainer), "metrics": (METRICS, xai.Metric)}[kind]
    return [names[0], plugin, *names[1:]] if isinstance(plugin, base) else names


def results(engine: xai.Engine, plugin: Any = None) -> dict[str, Tensor]:
    """Explain and score with all methods and metrics and perhaps a plugin. Return the results of the others."""
    images, masks = three_images(), torch.zeros(3, 32, 32, dtype=torch.bool)
    masks[:, :9] = True
    maps = engine.explain(images, everyones("explainers", plugin), costs=True)
    scores = engine.evaluate(images, {name: maps[name] for name in METHODS}, everyones("metrics", plugin), masks)
    assert torch.equal(images, three_images())
    assert masks.sum() == 3 * 9 * 32
    others = {name: maps[name].raw for name in METHODS}
    return others | {f"{name} {key}": scores[name][key].values for name in METHODS for key in METRICS}


@pytest.fixture(scope="session")
def undisturbed() -> Mapping[str, Tensor]:
    return results(xai.Engine(made("cnn"), time_limit=60))


@pytest.fixture
def restored() -> Iterator[None]:
    """Restore the settings of the process after a test that fails."""
    before = Snapshot()
    yield
    before.undo({"the environment variables"})  # pytest sets one for each test


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(("kind", "case"), CASES, ids=[case.name for _, case in CASES])
def test_explain(kind: Kind, case: Misbehavior, undisturbed: Mapping[str, Tensor]) -> None:
    model, settings = made("cnn"), Snapshot()
    before, weights = everything(model), {name: value.clone() for name, value in model.state_dict().items()}
    engine = xai.Engine(model, time_limit=kind.time_limit)
    if case.error is None:
        found = results(engine, case.plugin)
    else:
        with pytest.raises(case.error) as raised:
            results(engine, case.plugin)
        message = message_with_notes(raised.value)
        assert case.name in message
        assert re.search(case.message, message)
        assert responsible_call(raised.value).plugin_object is case.plugin
        if case.changes_weights:
            model.load_state_dict(weights)
        found = results(engine)
    assert everything(model) == before
    assert settings.changed() == []
    assert found.keys() == undisturbed.keys()
    assert [name for name, result in found.items() if not torch.equal(result, undisturbed[name])] == []


@pytest.mark.parametrize("case", ADAPTERS.cases, ids=lambda case: case.name)
def test_adapter(case: Misbehavior, undisturbed: Mapping[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    model = made("cnn")
    before, settings = everything(model), Snapshot()
    register_adapter(case, monkeypatch)
    with pytest.warns(
        PluginWarning, match=f"adapter {case.name} of their-cam 2.3 failed and was skipped: {case.message}"
    ):
        found = results(xai.Engine(model, time_limit=ADAPTERS.time_limit))
    assert everything(model) == before
    assert settings.changed() == []
    assert [name for name, result in found.items() if not torch.equal(result, undisturbed[name])] == []
