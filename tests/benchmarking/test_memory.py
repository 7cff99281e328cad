"""Smaller batches after running out of memory, and memory that does not grow with the number of images."""

import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.benchmark_runs import TWO, Breaking, Brightness, Counted, Crowded, Speckles, by_key, loaded, run
from xai_core.benchmarking import resolve as resolve_module
from xai_core.benchmarking.shards import ShardFiles
from xai_core.benchmarking.summary import summarize
from xai_core.errors import OutOfMemoryWarning
from xai_core.plugin import Evaluation


def test_out_of_memory_halves_the_batch_goes_on_and_says_so(tmp_path: Path) -> None:
    whole = by_key(run(tmp_path / "whole").rows())
    model = Crowded()
    found = run(tmp_path / "run", model=model)
    rows = by_key(found.rows())
    assert all(row["score"] == pytest.approx(whole[key]["score"], abs=1e-6) for key, row in rows.items())
    perturbed = [
        f"out of memory: {some} perturbed images are scored at once" for some in ("3 instead of 6", "1 instead of 3")
    ]
    assert found.notes() == ["out of memory: counted continues with batches of 2 images instead of 4", *perturbed]
    assert summarize(found).notes == found.notes()


def test_out_of_memory_is_of_its_shard_and_holds_to_what_it_says(tmp_path: Path) -> None:
    model = Crowded(most=3)
    found = run(tmp_path / "run", model=model, methods="grad-cam", metrics=Brightness(), batch=5, shard=5)
    assert found.notes() == ["out of memory: counted continues with batches of 2 images instead of 5"]
    assert [count for count in model.forward_passes if count > 1] == 2 * [2, 2]  # and one more; the same for each shard


class Greedy(Brightness):
    """Runs out of memory of the CPU above two images."""

    name = "greedy"

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        if len(saliency.values) > 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return super().evaluate(evaluation, saliency)


def test_out_of_memory_while_scoring_halves_too(tmp_path: Path) -> None:
    found = run(tmp_path / "run", Speckles(4), metrics=Greedy())
    assert found.notes() == ["out of memory: greedy continues with batches of 2 images instead of 4"]
    assert not summarize(found).errors


def test_perturbed_images_are_fewer_where_the_cpu_has_no_memory() -> None:
    model = Crowded(most=6, error=RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    engine, images = xai.Engine(model), torch.stack([Speckles()[index].image for index in range(4)])
    maps = engine.explain(images, "grad-cam")
    with pytest.warns(OutOfMemoryWarning, match=r"\d+ instead of \d+ perturbed images are scored at once"):
        scores = engine.evaluate(images, maps, TWO)["grad-cam"]
    assert scores[TWO[0]].curve is not None
    assert max(model.forward_passes) <= 6


def test_fewer_perturbed_images_are_said_of_each_shard_that_had_them(tmp_path: Path) -> None:
    model = Crowded(most=5)
    found = run(tmp_path / "run", model=model, batch=2, shard=2)
    assert not summarize(found).errors
    assert found.notes() == ["out of memory: 3 instead of 6 perturbed images are scored at once"]
    model.most = 1000
    assert run(tmp_path / "roomy", model=model, batch=2, shard=2).notes() == []


class Holding(Brightness):
    """Runs out of memory above one image, and sees what earlier attempts hold."""

    name = "holding"
    held: ClassVar[list[weakref.ref[Any]]] = []
    alive: ClassVar[list[int]] = []

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        large = np.zeros(10)  # in this frame, as a block of perturbed images is
        self.alive.append(sum(one() is not None for one in self.held))
        self.held.append(weakref.ref(large))
        if len(saliency.values) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory") from ValueError("of many")
        return super().evaluate(evaluation, saliency)


class Clutching(Breaking):
    """The same of an explainer."""

    name = "clutching"

    def explain(self, captured: xai.Captured) -> Tensor:
        large = np.zeros(10)
        Holding.alive.append(sum(one() is not None for one in Holding.held))
        Holding.held.append(weakref.ref(large))
        if len(captured.images) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return captured.activation().mean(1)


@pytest.mark.parametrize("given", [{"metrics": Holding()}, {"metrics": Brightness(), "methods": Clutching()}])
def test_another_try_has_the_memory_of_the_one_before(tmp_path: Path, given: Mapping[str, Any]) -> None:
    Holding.held.clear()
    Holding.alive.clear()
    found = run(tmp_path / "run", Speckles(4), batch=4, **given)
    assert not summarize(found).errors
    assert len(Holding.alive) > 4
    assert {*Holding.alive} == {0}


def test_one_model_is_held_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[nn.Module]] = []

    def load(spec: str) -> xai.LoadedModel:
        assert not [model for model in held if model()]
        model = Counted()
        held.append(weakref.ref(model))
        return loaded(model)

    monkeypatch.setattr(resolve_module, "load_model", load)
    run(tmp_path / "run", Speckles(2), models=["zoo:one", "zoo:two"], methods="grad-cam", metrics=Brightness())
    assert len(held) == 4  # prepared, and worked with


def resident() -> Iterator[int]:
    """The memory of this process in KiB, each time."""
    while True:
        [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
        yield int(line.split()[1])


@pytest.mark.slow
def test_thousands_of_images_take_memory_of_a_few_and_time_in_proportion(tmp_path: Path) -> None:
    memory, held, taken = resident(), [], []

    def watch(going: xai.Run, part: ShardFiles | None) -> None:
        held.append(next(memory))
        taken.append(time.perf_counter())

    model = nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    data = Speckles(4_000, size=48)
    run(tmp_path / "run", data, model, methods="grad-cam", metrics=Brightness(), batch=100, shard=200, progress=watch)
    assert len(held) == 21
    assert max(held[6:]) - held[5] < 20_000  # KiB; the images of these 15 shards would be 81,000 KiB
    first, second = taken[11] - taken[1], taken[20] - taken[10]
    assert second < 2 * first
