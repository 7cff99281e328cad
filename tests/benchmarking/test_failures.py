"""A method, metric or image that fails costs its own rows, which record the error."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import xai_core as xai
from support.benchmark_runs import Breaking, Brightness, Counted, Inside, Picky, Speckles, by_key, prepared, run
from xai_core.benchmarking.summary import summarize
from xai_core.errors import DatasetError, OptionError
from xai_core.plugin import Evaluation
from xai_core.plugins.loader import Entry
from xai_core.plugins.registry import registry


def test_a_method_that_fails_costs_its_own_rows(tmp_path: Path) -> None:
    whole = by_key(run(tmp_path / "whole").rows())
    mixed = run(tmp_path / "mixed", methods=["grad-cam", Breaking(), "eigen-cam"])
    rows = by_key(mixed.rows())
    for key, row in whole.items():
        assert rows[key]["score"] == row["score"]
    data = Speckles()
    bright = {f"speckle-{i}" for i in range(10) if data[i].image[0, 0, 0] > 0.8}  # type: ignore[index]
    assert 0 < len(bright) < 10
    for (image, method, _), row in rows.items():
        failed = method == "breaking" and image in bright
        assert row["error"] == (
            "RuntimeError: too bright to explain (raised by explainer 'breaking')" if failed else None
        )
        assert (row["score"] is None) == failed
    assert summarize(mixed).errors == {
        "RuntimeError: too bright to explain (raised by explainer 'breaking')": 2 * len(bright)
    }
    [deletion, _] = summarize(mixed).comparisons
    assert deletion.images == 10 - len(bright)
    assert {one.method: one.failed for one in deletion.standings}["breaking"] == len(bright)


def test_a_metric_that_fails_costs_its_own_rows(tmp_path: Path) -> None:
    rows = by_key(run(tmp_path / "run", metrics=[Picky(), Brightness()]).rows())
    assert all(row["error"] is None for row in rows.values())
    for (image, method, _), row in rows.items():
        assert row["score"] == pytest.approx(rows[image, method, "brightness"]["score"], abs=1e-6)


def test_images_that_cannot_be_read_or_explained_cost_their_own_rows(tmp_path: Path) -> None:
    whole = by_key(run(tmp_path / "whole").rows())
    rows = by_key(run(tmp_path / "run", Speckles(broken=(0, 7), nan=(2,))).rows())
    assert len(rows) == len(whole)
    for (image, method, metric), row in rows.items():
        if image in ("0", "7"):
            number = row["index"]
            assert row["error"] == f"ImageFileError: speckle-{number}.png is truncated"
        elif image == "speckle-2":
            assert row["error"].startswith("NonFiniteInputError: the image contains NaN or infinity")
        else:
            assert row["score"] == pytest.approx(whole[image, method, metric]["score"], abs=1e-6)


def test_a_method_that_does_not_suit_is_rows_with_the_reason(tmp_path: Path) -> None:
    found = run(tmp_path / "run", methods=["grad-cam", "rollout"])
    rows = by_key(found.rows())
    assert {row["error"] is None for key, row in rows.items() if key[1] == "grad-cam"} == {True}
    assert all("Error: " in row["error"] for key, row in rows.items() if key[1] == "rollout")
    [deletion, _] = summarize(found).comparisons
    assert {*deletion.excluded} == {"rollout"}
    assert deletion.images == 10


@dataclass(frozen=True)
class Odd:
    """Samples that break what a sample promises, each in its own way, between two that do not."""

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int, /) -> xai.Sample:
        image, mask = Speckles()[index].image, torch.ones(32, 32, dtype=torch.bool)
        odd: dict[int, dict[str, Any]] = {
            1: {"mask": mask.numpy()},
            2: {"boxes": [[0, 0, 9, 9]]},
            3: {"target": "cat", "mask": mask},
            4: {"image": torch.zeros(0), "mask": mask},
            6: {"target": 10**30, "mask": mask},
        }
        return xai.Sample(**{"image": image, "id": index, **odd.get(index, {"mask": mask})})


def test_samples_that_break_their_promise_cost_their_own_rows(tmp_path: Path) -> None:
    def preprocess(image: Any) -> Any:
        return image if image.numel() else None

    model = xai.LoadedModel(Counted(), preprocess, restore=lambda image: image, spec="counted")
    rows = by_key(
        run(tmp_path / "run", Odd(), models=model, methods="grad-cam", metrics=[Brightness(), Inside()]).rows()
    )
    errors = {(image, metric): row["error"] for (image, _, metric), row in rows.items()}
    assert all(errors[image, metric] is None for image in "05" for metric in ("brightness", "inside"))
    assert all(errors[image, "brightness"] is None and "Error: " in errors[image, "inside"] for image in "12")
    message = "PluginContractError: the dataset returned the target {}; expected a class id or None"
    assert errors["3", "brightness"] == message.format("'cat'")
    assert errors["6", "brightness"] == message.format(10**30)
    assert errors["4", "inside"] == "PluginContractError: preprocess returned a NoneType; expected a tensor [C,h,w]"


@pytest.mark.parametrize("length", [10**30, -1, "2", None])
def test_a_dataset_without_a_length_is_one_error(length: object, tmp_path: Path) -> None:
    class Endless(Speckles):
        def __len__(self) -> int:
            return length  # type: ignore[return-value]

    with pytest.raises(DatasetError, match=r"the dataset has no valid length .*; expected `__len__` to return"):
        run(tmp_path / "run", Endless())


@pytest.mark.parametrize("spec", ["caf\udce9", 3])
def test_the_spec_of_a_model_is_text_that_can_be_written(spec: Any, tmp_path: Path) -> None:
    model = xai.LoadedModel(Counted(), lambda image: image, spec=spec)
    chosen = {"models": model, "methods": "grad-cam", "metrics": Brightness()}
    if isinstance(spec, str):
        assert {row.model for row in run(tmp_path / "run", Speckles(2), **chosen)} == {r"caf\udce9"}
    else:
        with pytest.raises(OptionError, match="the spec of a LoadedModel must be a string, got 3"):
            run(tmp_path / "run", Speckles(2), **chosen)


class Crooked(Brightness):
    """Gives a curve of the wrong shape."""

    name = "crooked"

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        return xai.MetricResult(saliency.values.mean((1, 2)), torch.zeros(1, 4), torch.zeros(5))


def test_a_curve_of_the_wrong_shape_costs_its_own_rows(tmp_path: Path) -> None:
    rows = by_key(run(tmp_path / "run", Speckles(2), metrics=[Crooked(), Brightness()]).rows())
    for (_, _, metric), row in rows.items():
        assert (row["error"] is None) == (metric == "brightness")
        assert metric == "brightness" or "must return a curve [B,S] with fractions [S]" in row["error"]


class Fussy(Breaking):
    """Cannot be made without being told."""

    name = "fussy"

    def __init__(self, how: str) -> None:
        self.how = how


class Faulty(Breaking):
    """Looks for what no model has."""

    name = "faulty"

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        raise KeyError("layer9")


class Unmade(Brightness):
    """Cannot be made without being told."""

    name = "unmade"

    def __init__(self, how: str) -> None:
        self.how = how


def test_all_leaves_out_what_cannot_be_made_or_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    [plugin, *_] = registry().plugins
    for kind, made_by in (("explainers", Fussy), ("explainers", Faulty), ("metrics", Unmade)):
        monkeypatch.setitem(registry().entries[kind], made_by.name, Entry(made_by.name, made_by, plugin))
    manifest = prepared(Speckles(3, nan=(0,)), methods=("all",), metrics=("all",))
    [subject] = manifest.models
    assert {"grad-cam", "score-cam"} <= {*subject.methods}
    assert "missing a required argument: 'how'" in subject.skipped["fussy"]
    assert subject.skipped["faulty"] == f"KeyError: 'layer9' (raised by explainer 'faulty' of {plugin.release})"
    assert "missing a required argument: 'how'" in manifest.skipped["unmade"]
    assert "unmade" not in prepared(metrics=("all",), methods=("grad-cam",), without=("unmade",)).skipped
    with pytest.raises(DatasetError, match="counted accepts none of the first 2 images: NonFiniteInputError"):
        prepared(Speckles(2, nan=(0, 1)), methods=("all",))


def test_a_method_that_does_not_suit_leaves_the_pass_to_the_others(tmp_path: Path) -> None:
    model = Counted()
    methods = ["rollout", "grad-cam", "hires-cam", "eigen-cam", "layer-cam"]
    found = run(tmp_path / "run", model=model, methods=methods, metrics=Brightness())
    assert [count for count in model.forward_passes if count > 1] == [4, 2, 4]
    assert {row["method"] for row in found.rows().to_pylist() if row["error"]} == {"rollout"}
