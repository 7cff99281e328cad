"""Plugins that misbehave in several batches and shards cost their own rows, and nobody else's."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.benchmark_runs import TWO, Brightness, Speckles, by_key, prepared, run
from support.misbehaving import THEIRS, TheirCAM, TheirScore, fail, loop, stubborn
from xai_core.benchmarking import leaks, worker
from xai_core.errors import OptionError
from xai_core.plugin import Evaluation, Probe
from xai_core.plugins.loader import Entry
from xai_core.plugins.registry import registry

pytestmark = pytest.mark.usefixtures("their_plugin")
FROM = "of their-cam 2.3"


def change(captured: xai.Captured) -> Tensor:
    for parameter in captured.adapter.model.parameters():
        parameter.zero_()
    return captured.activation().mean(1)


class Changing(TheirCAM):
    name = "changing"
    explain = staticmethod(change)


class Dawdling(TheirCAM):
    name = "dawdling"

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        return loop()


class Raising(TheirCAM):
    name = "raising"


class Looping(TheirCAM):
    name = "looping"


class Sleeping(TheirCAM):
    name = "sleeping"


class Stuck(TheirCAM):
    name = "stuck"

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return stubborn()


BAD: dict[str, tuple[xai.Explainer, str]] = {
    "raising": (Raising(fail), "RuntimeError: not today (raised by explainer 'raising')"),
    "looping": (Looping(loop), "TimeLimitError: looping took longer than 0.8 s"),
    "sleeping": (Sleeping(lambda maps: time.sleep(100)), "TimeLimitError: sleeping took longer than 0.8 s"),
    "stuck": (Stuck(), "TimeLimitError: stuck took longer than 0.8 s"),
    "changing": (Changing(), "SideEffectError: changing changed the model: other values of"),
    "dawdling": (Dawdling(), "TimeLimitError: dawdling took longer than 0.8 s"),
}


SLOW = ("dawdling", "looping", "sleeping", "stuck")


def good(rows: Mapping[tuple[str, str, str], Mapping[str, Any]], *metrics: str) -> list[tuple[Any, ...]]:
    return [
        (key, row["score"], row["target"], row["error"])
        for key, row in rows.items()
        if key[1] in ("grad-cam", "eigen-cam") and key[2] in metrics
    ]


def test_bad_methods_cost_their_own_rows_and_nobody_elses(tmp_path: Path) -> None:
    data = Speckles(10)
    alone = by_key(run(tmp_path / "alone", data).rows())
    methods = ["grad-cam", *(explainer for explainer, _ in BAD.values()), "eigen-cam"]
    found = run(tmp_path / "run", data, methods=methods, time_limit=0.2)
    rows = by_key(found.rows())
    assert good(rows, *TWO) == good(alone, *TWO)
    for (_, method, _), row in rows.items():
        if method in BAD:
            error = row["error"].removeprefix("disabled: ")
            assert error.startswith(BAD[method][1].partition(" 0.8 s")[0])
            assert ("disabled: " in row["error"]) == (row["index"] >= 4 and method in SLOW)
    assert "their model" not in str(found.notes())


@pytest.mark.filterwarnings("ignore::xai_core.errors.PluginWarning")
def test_an_adapter_that_writes_to_the_weights_costs_no_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = by_key(run(tmp_path / "alone").rows())

    class Odd(xai.ModelAdapter):
        @classmethod
        def suits(cls, model: nn.Module, probe: Probe) -> bool:
            with torch.no_grad():
                model.cnn.head.bias.add_(1)
            return True

    monkeypatch.setitem(registry().entries["adapters"], "odd", Entry("odd", Odd, THEIRS))
    found = run(tmp_path / "run", time_limit=0.2)
    assert good(by_key(found.rows()), *TWO) == good(alone, *TWO)
    assert any("odd of their-cam 2.3 changed the model" in note for note in found.notes())


class Endless(TheirScore):
    name = "endless"


class Meddling(TheirScore):
    name = "meddling"

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        evaluation.model.cnn.head.bias.add_(1)
        return super().evaluate(evaluation, saliency)


def test_bad_metrics_cost_their_own_rows_and_nobody_elses(tmp_path: Path) -> None:
    data = Speckles(10)
    alone = by_key(run(tmp_path / "alone", data).rows())
    bad = {
        "endless": (Endless(loop), "TimeLimitError: endless for maps of "),
        "meddling": (Meddling(), "SideEffectError: meddling for maps of "),
    }
    metrics = [TWO[0], *(metric for metric, _ in bad.values()), TWO[1]]
    rows = by_key(run(tmp_path / "run", data, metrics=metrics, time_limit=0.2).rows())
    assert good(rows, *TWO) == good(alone, *TWO)
    for (_, _, metric), row in rows.items():
        if metric in bad:
            assert row["error"].removeprefix("disabled: ").startswith(bad[metric][1])
            assert row["error"].startswith("disabled: ") == (metric == "endless" and row["index"] >= 4)


class SlowForOne(TheirScore):
    """Takes forever on the maps of one method, which are told by their shape before resizing."""

    name = "slow"

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        return loop() if saliency.raw.shape[-1] == 32 else super().evaluate(evaluation, saliency)


def test_a_metric_that_is_too_slow_for_one_method_is_set_aside_for_that(tmp_path: Path) -> None:
    rows = by_key(run(tmp_path / "run", methods=["grad-cam", "edges"], metrics=SlowForOne(), time_limit=0.2).rows())
    assert {row["error"] is None for (_, method, _), row in rows.items() if method == "grad-cam"} == {True}
    assert all("TimeLimitError" in row["error"] for (_, method, _), row in rows.items() if method == "edges")


def test_an_installed_plugin_is_named_with_its_version_in_rows(tmp_path: Path) -> None:
    rows = by_key(run(tmp_path / "run", Speckles(2), methods=[TheirCAM(fail), "grad-cam"], metrics=Brightness()).rows())
    [error] = {row["error"] for row in rows.values() if row["method"].startswith("their-cam")}
    assert error == f"RuntimeError: not today (raised by explainer 'their-cam' {FROM})"


class Hoarding(TheirCAM):
    """Keeps what it was given, as a list that is never emptied does."""

    name = "hoarding"
    kept: ClassVar[list[Tensor]] = []

    def explain(self, captured: xai.Captured) -> Tensor:
        self.kept.append(captured.activation().repeat(1, 100, 1, 1))
        return captured.activation().mean(1)


class Caching(TheirCAM):
    """Keeps one thing for each size of images."""

    name = "caching"
    kept: ClassVar[dict[Any, Tensor]] = {}

    def explain(self, captured: xai.Captured) -> Tensor:
        self.kept[captured.images.shape[1:]] = captured.activation().repeat(1, 100, 1, 1)
        return captured.activation().mean(1)


class Collecting(TheirScore):
    """Keeps all the images."""

    name = "collecting"
    kept: ClassVar[list[Tensor]] = []

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        self.kept.append(evaluation.images.repeat(8, 1, 1, 1))
        return super().evaluate(evaluation, saliency)


def test_what_keeps_tensors_is_found_and_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Small(leaks.MemoryGrowth):
        def __init__(self, device: torch.device) -> None:
            super().__init__(device)
            self._budget = 2**20

    monkeypatch.setattr(worker, "MemoryGrowth", Small)
    methods = ["grad-cam", Hoarding(), Caching(), "eigen-cam"]
    metrics = [TWO[0], Collecting()]
    data = Speckles(40)
    found = run(tmp_path / "run", data, methods=methods, metrics=metrics, shard=4)
    rows = by_key(found.rows())
    alone = by_key(run(tmp_path / "alone", data, metrics=TWO[0], shard=4).rows())
    assert good(rows, TWO[0]) == good(alone, TWO[0])
    size = len(Hoarding.kept[0][0]) * Hoarding.kept[0][0, 0].numel() * 4 / 2**20
    assert any(f"hoarding keeps {size:.1f} MiB of tensors for each image" in note for note in found.notes())
    assert any("collecting keeps 0.1 MiB of tensors for each image" in note for note in found.notes())
    aside = {key[1:] for key, row in rows.items() if row["error"]}
    assert {method for method, _ in aside if method == "hoarding"} == {"hoarding"}
    assert {metric for method, metric in aside if method != "hoarding"} == {"collecting"}
    first = min(row["index"] for row in rows.values() if row["error"])
    assert 12 <= first <= 32
    assert rows["speckle-39", "hoarding", TWO[0]]["error"].startswith("disabled: hoarding keeps")
    Hoarding.kept.clear()
    Caching.kept.clear()
    Collecting.kept.clear()


def test_the_limit_is_part_of_the_manifest() -> None:
    assert prepared(time_limit=60).time_limit == 60.0
    assert prepared(time_limit=60).hash == prepared(time_limit=60.0).hash != prepared().hash
    for wrong in (0, -1, True, "60", float("inf")):
        with pytest.raises(OptionError, match=r"time_limit=.* is out of range; expected a positive number"):
            prepared(time_limit=wrong)
