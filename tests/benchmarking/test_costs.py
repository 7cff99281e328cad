"""The costs in a run's rows: each image has its share of the seconds that its batch took."""

from pathlib import Path

import pytest
from torch import Tensor

import xai_core as xai
from support.benchmark_runs import Brightness, Speckles, run


class Clock:
    """A clock that only `wait` moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def read(self) -> float:
        return self.now


class Slow(xai.Explainer):
    """Takes twelve seconds for a batch, whatever its size."""

    name = "slow"
    clock = Clock()

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return xai.Needs()

    def explain(self, captured: xai.Captured) -> Tensor:
        self.clock.wait(12)
        return captured.images.mean(1)


def test_an_image_has_its_share_of_the_seconds_of_its_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xai_core.cost.time.perf_counter", Slow.clock.read)
    rows = run(tmp_path / "run", Speckles(6), methods=Slow(), metrics=Brightness(), batch=4, shard=6).rows()
    assert rows["seconds"].to_pylist() == [3] * 4 + [6] * 2
