"""The cost of a method's maps: the shared pass, and what the method computes after it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai


class Timed(xai.Explainer):
    """Takes some seconds of a clock that only explainers and models move."""

    def __init__(self, name: str, run: Callable[[], None], passes: int) -> None:
        self.name, self._run, self._passes = name, run, passes  # type: ignore[misc]

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return xai.Needs()

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        return self._passes

    def explain(self, captured: xai.Captured) -> Tensor:
        self._run()
        return captured.images[:, 0]


def test_a_method_costs_the_shared_pass_and_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def wait(seconds: float) -> None:
        nonlocal now
        now += seconds

    def forward(model: nn.Module, images: Tensor) -> Any:
        wait(100)
        return model(images)

    engine = xai.Engine(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), forward=forward)
    images = torch.randn(2, 3, 8, 8)
    engine.adapter(images)  # the probe is no method's
    monkeypatch.setattr("xai_core.cost.time.perf_counter", lambda: now)
    methods = [Timed("fast", lambda: wait(1), 2), Timed("slow", lambda: wait(10), 30)]
    maps = engine.explain(images, methods, costs=True)
    costs = {name: (saliency.cost.seconds, saliency.cost.forward_passes) for name, saliency in maps.items()}
    assert costs == {"fast": (101, 2), "slow": (110, 30)}
    assert all(saliency.cost is None for saliency in engine.explain(images, methods).values())
