"""A step of the planning that ended earlier workers costs its own rows, or is one error."""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

import xai_core as xai
from support.benchmark_runs import Brightness, Speckles, loaded
from xai_core.benchmarking.activity import Activity
from xai_core.benchmarking.orders import Resolve, Resolved, TorchSettings
from xai_core.benchmarking.plan import pickled
from xai_core.benchmarking.planning import plan
from xai_core.benchmarking.resolve import ResolvedBenchmark, code_hashes
from xai_core.benchmarking.settings import Settings
from xai_core.benchmarking.shards import Shard
from xai_core.benchmarking.worker import Worker
from xai_core.errors import WorkerError

REASON = "its process ended with SIGSEGV"
OTHER = replace(loaded(), spec="other")


def planned(
    *ended: str, report: Callable[[Activity], None] = lambda activity: None, **settings: Any
) -> tuple[ResolvedBenchmark, Resolved]:
    """Plan as a worker does after each of the steps has ended earlier workers."""
    given = {"models": (loaded(), OTHER), "data": Speckles(5), "methods": ("grad-cam",), "metrics": (Brightness(),)}
    chosen = Settings(**{**given, "controls": False, **settings})
    cpu, reasons = torch.device("cpu"), dict.fromkeys(ended, REASON)
    order = Resolve(pickled(chosen), code_hashes(chosen), cpu, cpu, 2, reasons, (), TorchSettings.current())
    return plan(order, report)


def benchmark(*ended: str, **settings: Any) -> ResolvedBenchmark:
    return planned(*ended, **settings)[0]


def test_every_step_is_reported_before_it_begins() -> None:
    steps: list[str] = []
    planned(report=lambda activity: steps.append(activity.description), methods=("all",))
    wanted = [
        "opening of dataset Speckles",
        "reading of image 0",
        "loading of model counted",
        "preprocessing for model counted",
        "first forward pass of model counted",
        "creation of grad-cam",
        "loading of model other",
    ]
    assert [step for step in dict.fromkeys(steps) if step in wanted] == wanted


@pytest.mark.parametrize("step", ["loading of", "preprocessing for", "first forward pass of"])
def test_a_model_that_ends_the_process_costs_its_own_rows(step: str) -> None:
    found = benchmark(f"{step} model other", methods=("all",))
    first, failed = found.manifest.models
    assert first == benchmark(methods=("all",), models=(loaded(),)).manifest.models[0]
    assert {*first.methods} < {*failed.methods}
    assert "smoothed" not in failed.methods
    rows = pq.read_table(io.BytesIO(Worker(found).run(Shard(1, 0, 2)).rows))
    assert {*rows["error"].to_pylist()} == {f"WorkerError: {REASON}"}
    assert len(rows) == 2 * len(failed.methods)


def test_the_only_model_and_the_dataset_are_one_error() -> None:
    for step in ("loading of model counted", "opening of dataset Speckles"):
        with pytest.raises(WorkerError, match=REASON):
            benchmark(step, models=(loaded(),))


def test_another_image_is_read_in_place_of_one_that_ends_the_process() -> None:
    healthy, other = benchmark(), benchmark("reading of image 0", methods=("all",))
    assert healthy.manifest.data_content != other.manifest.data_content
    assert not other.failures
    with pytest.raises(WorkerError, match=REASON):
        benchmark(*(f"reading of image {index}" for index in range(3)))


def test_all_skips_a_method_or_metric_that_ends_the_process() -> None:
    found = benchmark("creation of grad-cam", "creation of complexity", methods=("all",), metrics=("all",)).manifest
    assert [model.skipped["grad-cam"] for model in found.models] == [REASON] * 2
    assert found.skipped["complexity"] == REASON
    for named in ({"methods": ("grad-cam",)}, {"metrics": ("complexity",)}):
        with pytest.raises(WorkerError, match=REASON):
            benchmark("creation of grad-cam", "creation of complexity", **named)


def test_a_plan_contains_no_objects_of_the_user() -> None:
    """They are in the settings, and would be sent twice."""
    found, answer = planned(models=(loaded(), OTHER))
    assert len(answer.plan.settings) > sum(weight.nbytes for weight in loaded().model.state_dict().values())
    assert len(answer.plan.resolved) < 20_000
    again = answer.plan.benchmark()
    assert again.manifest == found.manifest
    assert again.models[1].spec == "other"  # type: ignore[union-attr]
    assert again.data_call.plugin_object is again.data.pairs  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Outdated(Speckles):
    """Warns when an image is read."""

    def __getitem__(self, index: int, /) -> xai.Sample:
        class Theirs(FutureWarning):
            pass

        warnings.warn("the images will move", Theirs, stacklevel=1)
        return super().__getitem__(index)


def test_warnings_are_sent_with_a_class_that_needs_no_plugin() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        _, answer = planned(data=Outdated())
    [(category, message, file, _)] = answer.warnings
    assert (category, message, Path(file).name) == (FutureWarning, "the images will move", Path(__file__).name)
