"""An explainer and a metric of an installed plugin that do what a test tells them to."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation
from xai_core.plugins.discovery import Plugin
from xai_core.plugins.loader import Entry
from xai_core.plugins.registry import registry

THEIRS = Plugin("cam", "their_cam", "their-cam", "2.3")


class TheirCAM(xai.Explainer):
    """Gives what it is told to."""

    name = "their-cam"

    def __init__(self, give: Callable[[Tensor], Any] = lambda maps: maps, ask: Any = None) -> None:
        self._give, self._ask = give, ask  # no options, which specs would show

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        if isinstance(self._ask, Exception):
            raise self._ask
        return self._ask or xai.Needs(activations=(adapter.default_layer,))

    def explain(self, captured: xai.Captured) -> Tensor:
        return self._give(captured.activation().mean(1))


class TheirScore(xai.Metric):
    """Gives what it is told to."""

    name = "their-score"
    higher_is_better = True

    def __init__(self, give: Callable[[Tensor], Any] = xai.MetricResult) -> None:
        self._give = give

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        return self._give(saliency.values.mean((1, 2)))


@pytest.fixture
def their_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register the explainer and the metric as those of an installed distribution."""
    for kind, one in (("explainers", TheirCAM), ("metrics", TheirScore)):
        monkeypatch.setitem(registry().entries[kind], one.name, Entry(one.name, one, THEIRS))


def fail(given: Any) -> Any:
    raise RuntimeError("not today")


def loop(given: Any = None) -> Any:
    while True:
        pass


def stubborn(given: Any = None) -> Any:
    while True:
        with contextlib.suppress(Exception):
            loop()
