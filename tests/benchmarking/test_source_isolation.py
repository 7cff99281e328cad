"""Datasets, preprocessing and constructors that misbehave cost images or rows, and are named in the errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import xai_core as xai
from support.benchmark_runs import TWO, Brightness, Speckles, by_key, run
from support.misbehaving import THEIRS, TheirCAM, TheirScore, fail, loop
from xai_core.benchmarking.reader import Item, Reader
from xai_core.data.sources import LoadedModel
from xai_core.errors import TimeLimitError
from xai_core.isolation.error_context import PluginCall
from xai_core.plugin import DatasetSource, ModelSource
from xai_core.plugins.loader import Entry
from xai_core.plugins.registry import registry

LIMIT = 0.2


@dataclass(frozen=True)
class Odd(Speckles):
    """Does something instead of returning the second image."""

    deed: Callable[[Any], Any] = fail

    def __getitem__(self, index: int, /) -> xai.Sample:
        return self.deed(index) if index == 1 else super().__getitem__(index)


def leave(given: Any) -> Any:
    raise SystemExit(0)


DEEDS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "raise": (fail, "RuntimeError: not today (raised by {name})"),
    "exit": (leave, "PluginContractError: {plain} raised an exception that would end the process, SystemExit: 0"),
    "loop": (loop, "TimeLimitError: {plain} took longer than 0.2 s"),
}


@pytest.mark.parametrize(("deed", "error"), DEEDS.values(), ids=DEEDS)
def test_a_dataset_that_misbehaves_loses_one_image(tmp_path: Path, deed: Callable[[Any], Any], error: str) -> None:
    alone = by_key(run(tmp_path / "alone", Speckles(3), methods="grad-cam", metrics=TWO).rows())
    found = run(tmp_path / "run", Odd(3, deed=deed), methods="grad-cam", metrics=TWO, time_limit=LIMIT, workers=1)
    rows = by_key(found.rows())
    for metric in TWO:
        for image in ("speckle-0", "speckle-2"):
            key = image, "grad-cam", metric
            assert (rows[key]["score"], rows[key]["error"]) == (alone[key]["score"], None)
        assert rows["1", "grad-cam", metric]["error"].startswith(error.format(name="dataset 'Odd'", plain="Odd"))


def read(data: Any, preprocess: Callable[[Any], Tensor], seconds: float | None = LIMIT) -> Sequence[Item]:
    calls = PluginCall("dataset", "data", data), PluginCall("model", "their-model", preprocess, "their-cam 2.3")
    reader = Reader(data, LoadedModel(torch.nn.Identity(), preprocess), 1, calls, seconds)
    try:
        return reader.take(range(len(data)))
    finally:
        reader.close()


@pytest.mark.parametrize(("deed", "error"), DEEDS.values(), ids=DEEDS)
def test_preprocessing_that_misbehaves_names_the_model(deed: Callable[[Any], Any], error: str) -> None:
    name, plain = "model 'their-model' of their-cam 2.3", "their-model of their-cam 2.3"
    for item in read(Speckles(2), deed):
        assert item.error is not None
        assert item.error.startswith(error.format(name=name, plain=plain))


def test_ids_that_raise_lose_the_images() -> None:
    class Unidentified(Speckles):
        ids = property(fail)

    assert [item.error for item in read(Unidentified(2), lambda image: image)] == [
        "RuntimeError: not today (raised by dataset 'data')"
    ] * 2


def test_preprocessing_cannot_write_to_the_dataset() -> None:
    images = [torch.rand(3, 8, 8) for _ in range(2)]
    before = [image.clone() for image in images]
    data = [xai.Sample(image, str(index)) for index, image in enumerate(images)]
    items = read(data, lambda image: image.sub_(0.5))
    assert all(map(torch.equal, images, before))
    assert all(torch.equal(item.image, image - 0.5) for item, image in zip(items, images, strict=True))


def test_a_length_that_takes_too_long_ends_the_preparation(tmp_path: Path) -> None:
    class Endless(Speckles):
        def __len__(self) -> int:
            return loop()

    with pytest.raises(TimeLimitError, match=r"^Endless took longer than 0\.2 s"):
        run(tmp_path / "run", Endless(), time_limit=LIMIT)


class Slow(TheirCAM):
    """Its constructor never ends."""

    name = "slow"

    def __init__(self) -> None:
        loop()


class SlowScore(TheirScore):
    """Its direction never ends."""

    name = "slow-score"
    needs_ground_truth = property(fail)  # type: ignore[assignment]


def test_constructors_and_properties_that_misbehave_are_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        registry(),
        "entries",
        {
            **registry().entries,
            "explainers": {
                "grad-cam": registry().entries["explainers"]["grad-cam"],
                "slow": Entry("slow", Slow, THEIRS),
            },
            "metrics": {
                "slow-score": Entry("slow-score", SlowScore, THEIRS),
                "brightness": Entry("brightness", Brightness, THEIRS),
            },
        },
    )
    found = run(tmp_path / "run", Speckles(2), methods="all", metrics="all", time_limit=LIMIT)
    [model] = found.manifest.models
    assert model.methods == ("grad-cam",)
    assert model.skipped["slow"].startswith("creating slow took longer than 0.2 s")
    assert found.manifest.skipped == {"slow-score": "RuntimeError: not today"}


@pytest.mark.parametrize(
    ("kind", "load", "base"), [("models", xai.load_model, ModelSource), ("datasets", xai.load_dataset, DatasetSource)]
)
def test_a_source_that_raises_is_named(
    monkeypatch: pytest.MonkeyPatch, kind: str, load: Callable[[str], Any], base: type
) -> None:
    source = type("Theirs", (base,), {"name": "theirs", "load": lambda self, name: fail(name)})
    monkeypatch.setitem(registry().entries[kind], "theirs", Entry("theirs", source, THEIRS))
    with pytest.raises(RuntimeError) as raised:
        load("theirs:this")
    assert raised.value.__notes__ == [f"raised by {kind[:-1]} 'theirs:this' of their-cam 2.3"]


@pytest.mark.parametrize(
    ("create", "kind", "base"),
    [(xai.create_explainer, "explainer", TheirCAM), (xai.create_metric, "metric", TheirScore)],
)
def test_a_constructor_that_raises_is_named(
    monkeypatch: pytest.MonkeyPatch, create: Callable[[str], Any], kind: str, base: type
) -> None:
    broken = type("Broken", (base,), {"name": "broken", "__init__": lambda self: fail(self)})
    monkeypatch.setitem(registry().entries[f"{kind}s"], "broken", Entry("broken", broken, THEIRS))
    with pytest.raises(RuntimeError) as raised:
        create("broken")
    assert raised.value.__notes__ == [f"raised by {kind} 'broken' of their-cam 2.3"]
