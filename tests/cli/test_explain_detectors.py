"""`xai explain` on a detector: the best detections, or those in boxes of the photo."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import xai_core as xai
from support.command_line import Run, refused
from support.tiny_models import explain
from xai_core.data.images import open_image
from xai_core.data.pixels import to_pil
from xai_core.visualization.overlays import with_box

MODEL = "shapes-detector:size=128"
pytestmark = pytest.mark.usefixtures("tiny")


def scene(*indices: int) -> Tensor:
    """Four images of one object, side by side and below each other."""
    samples = xai.load_dataset("shapes:split=test")
    four = [samples[index].image for index in indices]
    return torch.cat([torch.cat(four[:2], 2), torch.cat(four[2:], 2)], 1)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of a star, a cross, an hourglass and an arrow, with four pixels for each pixel of the model's input."""
    path = tmp_path / "photo.png"
    to_pil(scene(8, 3, 25, 10)).resize((256, 256), Image.Resampling.NEAREST).save(path)
    return path


def detect(*args: object, method: str = "odam") -> Run:
    return explain(*args, method=method, model=MODEL)


def read(path: Path) -> tuple[xai.Engine, Tensor]:
    """Return an engine of the detector, and its input for a photo."""
    loaded = xai.load_model(MODEL)
    return xai.Engine(loaded), xai.load_image(path, loaded)


def record(name: str = "photo") -> Any:
    return json.loads(Path(f"out/{name}.json").read_text())


def rows() -> list[dict[str, str]]:
    return [*csv.DictReader(Path("out/maps.csv").read_text().splitlines())]


def test_the_best_detection_is_explained(photo: Path) -> None:
    run = detect(photo)
    assert run.code == 0, run.err
    engine, image = read(photo)
    [found] = engine.detect(image)
    best = found[0]
    assert f"{best.name} {best.score:.2f}" in run.out
    saliency = engine.explain(image, "odam", xai.Box(best.box, best.label))["odam"]
    np.testing.assert_allclose(np.load("out/photo.odam.npy"), saliency.values[0].numpy(), atol=1e-6)
    in_photo = [2 * side for side in best.box]
    [row] = record()["maps"]
    assert (row["target"], row["target_id"]) == (best.name, best.label)
    assert row["probability"] == pytest.approx(best.score, abs=1e-6)
    assert row["box"] == pytest.approx(in_photo, abs=0.1)
    assert [each["name"] for each in record()["predictions"]] == [each.name for each in found]
    assert record()["predictions"][0]["box"] == row["box"]
    [of_table] = rows()
    assert (of_table["target"], of_table["predicted"]) == (best.name, best.name)
    assert [*map(float, of_table["box"].split())] == row["box"]
    overlay = Image.open("out/photo.odam.png").convert("RGB")
    assert np.array_equal(overlay, with_box(overlay, in_photo))


def test_several_detections_are_explained(photo: Path) -> None:
    run = detect(photo, "--top", 3, "--page")
    assert run.code == 0, run.err
    engine, image = read(photo)
    names = [each.name for each in engine.detect(image)[0][:3]]
    assert [row["target"] for row in rows()] == names
    assert {path.name for path in Path("out").glob("*.npy")} == {f"photo.{name}.odam.npy" for name in names}
    page = Path("out/index.html").read_text()
    for row in rows():
        assert f"{row['target']} {float(row['probability']):.2f}" in page


def test_two_objects_of_a_class_have_different_files(tmp_path: Path) -> None:
    to_pil(scene(3, 3, 3, 3)).save(tmp_path / "photo.png")
    assert detect(tmp_path / "photo.png", "--top", 2).code == 0
    assert [row["target"] for row in rows()] == ["cross", "cross 2"]
    assert rows()[0]["box"] != rows()[1]["box"]
    assert len({row["array"] for row in rows()}) == 2


def test_boxes_are_in_pixels_of_the_photo(photo: Path) -> None:
    engine, image = read(photo)
    second, third = engine.detect(image)[0][1:3]
    sides = [[round(2 * side) for side in each.box] for each in (second, third)]
    texts = [",".join(map(str, each)) for each in sides]
    run = detect(photo, "--box", texts[0], "--box", f"{texts[1]}, {third.name.upper()}")
    assert run.code == 0, run.err
    for row, of_box, detected in zip(record()["maps"], sides, (second, third), strict=True):
        assert row["box"] == pytest.approx(of_box, abs=0.1)
        assert (row["target"], row["probability"]) == (detected.name, pytest.approx(detected.score, abs=1e-6))
        label = None if detected is second else detected.label
        target = xai.Box([side / 2 for side in of_box], label)
        expected = engine.explain(image, "odam", target)["odam"].values[0]
        np.testing.assert_allclose(np.load(f"out/{row['array']}"), expected.numpy(), atol=1e-4)


def test_boxes_are_in_pixels_of_a_photo_that_was_scaled_down(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xai_core.data.images.LONGEST", 128)
    engine, image = read(photo)
    best = engine.detect(image)[0][0]
    box = ",".join(f"{2 * side:.1f}" for side in best.box)
    assert detect(photo, "--box", box).code == 0
    assert open_image("out/photo.odam.png").size == (128, 128)
    assert record()["maps"][0]["box"] == pytest.approx([2 * side for side in best.box], abs=0.1)


def test_photos_without_a_detection_do_not_stop_the_others(photo: Path, tmp_path: Path) -> None:
    Image.new("RGB", (128, 128)).save(tmp_path / "black.png")
    run = detect(tmp_path / "black.png", photo)
    assert run.code == 1
    [line] = run.err.splitlines()
    assert "black.png: no detection has a score of at least 0.5; detected: " in line
    assert [Path(row["image"]).name for row in rows()] == ["photo.png"]


def test_boxes_without_a_detection_do_not_stop_the_others(photo: Path) -> None:
    engine, image = read(photo)
    best = engine.detect(image)[0][0]
    run = detect(photo, "--box", "0,0,20,20", "--box", ",".join(str(2 * side) for side in best.box))
    assert run.code == 1
    assert f"no detection overlaps the box 0,0,20,20 by 0.5; detected: {best.name} {best.score:.2f} at " in run.err
    assert [row["target"] for row in rows()] == [best.name]


def test_a_box_without_a_prediction_above_the_threshold_is_explained(tmp_path: Path) -> None:
    Image.new("RGB", (128, 128), "gray").save(tmp_path / "gray.png")
    engine, image = read(tmp_path / "gray.png")
    best = engine.detect(image, 0)[0][0]
    assert best.score < 0.5
    run = detect(tmp_path / "gray.png", "--box", ",".join(map(str, best.box)), "--page")
    assert run.code == 0, run.err
    assert f"{best.name} {best.score:.2f}" in run.out
    [row] = rows()
    assert (row["target"], row["predicted"]) == (best.name, "")


@pytest.mark.parametrize("box", ["1,2,3", "a,2,3,4", "1,2,nan,4", "30,2,3,40", "1,2,3,4,nothing"])
def test_boxes_that_are_not_valid_are_refused(photo: Path, box: str) -> None:
    refused(detect(photo, "--box", box), "no class 'nothing'" if "nothing" in box else "box")
    assert not Path("out").exists()


def test_options_of_another_kind_of_model_are_refused(photo: Path) -> None:
    refused(detect(photo, "--target", "star"), "--target", "detector", "--box")
    refused(detect(photo, "--contrast", "star,cross"), "--contrast", "detector", "--box")
    refused(explain(photo, "--box", "1,2,3,4"), "a box needs a detector")


def test_the_demo_explains_the_best_detection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xai_core.cli.actions.demonstration.list_explainers", lambda: ["odam", "grad-cam"])
    run = Run("demo", "--limit", 1, "--model", "shapes-detector", "--data", "shapes:split=test")
    assert run.code == 0, run.err
    loaded = xai.load_model("shapes-detector")
    best = xai.Engine(loaded).detect(loaded.preprocess(xai.load_dataset("shapes:split=test")[0].image)[None], 0)[0][0]
    assert f"{best.name} {best.score:.2f}" in Path("xai-demo/index.html").read_text()
    overlay = Image.open(next(Path("xai-demo").glob("*.odam.png"))).convert("RGB")
    assert np.array_equal(overlay, with_box(overlay, best.box))
