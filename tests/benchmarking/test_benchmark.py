"""The benchmark: every number is that of the engine, computed once, and what fails costs its own rows."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import xai_core as xai
from support.benchmark_runs import (
    TWO,
    Brightness,
    Counted,
    Inside,
    Refusing,
    Speckles,
    by_key,
    run,
)


def test_rows_are_what_the_engine_gives(tmp_path: Path) -> None:
    found = run(tmp_path / "run")
    rows = by_key(found.rows())
    assert len(rows) == 10 * 2 * 2
    engine, data = xai.Engine(Counted()), Speckles()
    for batch in ((0, 1, 2, 3), (4, 5), (6, 7, 8, 9)):  # shards of 6, batches of 4
        images = torch.stack([data[i].image for i in batch])
        maps = engine.explain(images, ["grad-cam", "eigen-cam"])
        for method, scores in engine.evaluate(images, maps, TWO).items():
            for metric, score in scores.items():
                for place, index in enumerate(batch):
                    row = rows[f"speckle-{index}", method, metric]
                    assert row["score"] == score.values[place].item()
                    assert row["target"] == maps[method].target.ids[place].item()
                    assert (row["index"], row["label"], row["model"]) == (index, index % 5, "counted")
                    assert (row["error"], row["constant"], row["forward_passes"]) == (None, False, 1)
                    assert row["seconds"] > 0
    [one, *_] = [
        row for path in sorted((found.path / "curves").iterdir()) for row in pa.parquet.read_table(path).to_pylist()
    ]
    assert (one["image"], one["method"], one["metric"], len(one["scores"])) == ("speckle-0", "grad-cam", TWO[0], 5)
    assert np.trapezoid(one["scores"], one["fractions"]) == pytest.approx(
        rows["speckle-0", "grad-cam", TWO[0]]["score"]
    )


def test_one_capture_serves_all_methods_of_a_batch(tmp_path: Path) -> None:
    model = Counted()
    run(
        tmp_path / "run", model=model, methods=["grad-cam", "hires-cam", "eigen-cam", "layer-cam"], metrics=Brightness()
    )
    passes = [count for count in model.forward_passes if count > 1]
    assert passes == [4, 2, 4]
    assert sum(count == 1 for count in model.forward_passes) <= 2  # probes: of what suits, and of the work


def test_floors_are_there_unless_told(tmp_path: Path) -> None:
    found = run(tmp_path / "run", metrics=Brightness(), controls=True)
    assert found.manifest.models[0].methods == ("grad-cam", "eigen-cam", "random", "center", "edges")
    fewer = run(tmp_path / "fewer", metrics=Brightness(), controls=True, without=["edges"])
    assert fewer.manifest.models[0].methods == ("grad-cam", "eigen-cam", "random", "center")


def test_all_is_what_suits_and_the_rest_is_left_out_with_its_reason(tmp_path: Path) -> None:
    found = run(
        tmp_path / "run", Speckles(2), methods="all", without=["ss-cam", "is-cam", "rise"], metrics=Brightness()
    )
    [subject] = found.manifest.models
    assert {"grad-cam", "score-cam"} <= {*subject.methods}
    assert not {"rollout", "ss-cam", "smoothed", "random"} & {*subject.methods}
    assert "smoothed(" in subject.skipped["smoothed"]
    assert {"rollout", "head-attention"} <= {*subject.skipped}
    assert not any(row["error"] for row in found.rows().to_pylist())


def test_images_of_several_sizes(tmp_path: Path) -> None:
    data = Speckles(sizes=((1, 48), (8, 40)))
    rows = by_key(run(tmp_path / "run", data).rows())
    assert all(row["error"] is None for row in rows.values())
    engine = xai.Engine(Counted())
    image = data[1].image[None]  # type: ignore[index]
    alone = engine.evaluate(image, engine.explain(image, "grad-cam"), TWO[0])["grad-cam"][TWO[0]]
    assert rows["speckle-1", "grad-cam", TWO[0]]["score"] == pytest.approx(alone.values.item(), abs=1e-6)


def test_the_label_is_explained_where_asked(tmp_path: Path) -> None:
    rows = by_key(run(tmp_path / "run", Speckles(unlabeled=(3,)), target="label").rows())
    for (image, *_), row in rows.items():
        if image == "speckle-3":
            assert row["error"] == "TargetError: the image has no label, which target='label' requires"
        else:
            assert row["target"] == row["label"] == row["index"] % 5


def test_the_truth_is_asked_for_where_it_is_known(tmp_path: Path) -> None:
    data = Speckles(masked=(0, 1, 5))
    rows = by_key(run(tmp_path / "run", data, metrics=[Inside(), Brightness()]).rows())
    for (image, _, metric), row in rows.items():
        known = metric == "brightness" or image in ("speckle-0", "speckle-1", "speckle-5")
        assert (row["error"] is None) == known
        assert known or row["error"].startswith(f"NoGroundTruthError: {image} has neither a mask nor boxes")


def test_maps_are_written_where_asked(tmp_path: Path) -> None:
    found = run(tmp_path / "run", maps=True, metrics=Brightness())
    files = sorted((found.path / "maps").iterdir())
    maps = {key: value for file in files for key, value in np.load(file).items()}
    assert len(maps) == 20
    rows = by_key(found.rows())
    for key, values in maps.items():
        index, _, method = key.partition(":")
        assert values.shape == (32, 32)
        assert values.astype(float).mean() == pytest.approx(
            rows[f"speckle-{index}", method, "brightness"]["score"], abs=1e-3
        )


def test_maps_that_nothing_can_score_are_written_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def savez(file: Any, **arrays: Any) -> None:
        """As of NumPy before 2.2, for which every keyword is an array."""
        assert all(isinstance(array, np.ndarray) for array in arrays.values())
        np.savez(file, **arrays)

    monkeypatch.setattr(np, "savez_compressed", savez)
    found = run(tmp_path / "run", Speckles(3, broken=(1,)), maps=True, metrics=Refusing(), methods="grad-cam")
    [file] = (found.path / "maps").iterdir()
    assert [*np.load(file)] == ["0:grad-cam", "2:grad-cam"]
    assert found.rows()["error"].null_count == 0


def test_half_precision_is_of_the_model_alone(tmp_path: Path) -> None:
    whole = by_key(run(tmp_path / "whole").rows())
    half = by_key(run(tmp_path / "half", precision="bf16").rows())
    differences = [abs(row["score"] - whole[key]["score"]) for key, row in half.items()]
    assert all(row["error"] is None for row in half.values())
    assert 0 < max(differences) < 0.1
