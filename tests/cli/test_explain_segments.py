"""`xai explain` on a segmentation model: the largest classes, or the selected ones."""

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
from xai_core.data.pixels import to_pil

METHOD = "seg-grad-cam"
pytestmark = pytest.mark.usefixtures("tiny")


def segment(*args: object) -> Run:
    return explain(*args, method=METHOD, model="shapes-unet")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of a star."""
    path = tmp_path / "photo.png"
    to_pil(xai.load_dataset("shapes:split=test")[8].image).save(path)  # type: ignore[arg-type]
    return path


def counts(photo: Path) -> tuple[xai.Engine, Tensor, dict[int, float]]:
    """Return an engine, its input, and the share of each class but the background, the largest first."""
    loaded = xai.load_model("shapes-unet")
    image = xai.load_image(photo, loaded)
    with torch.no_grad():
        shares = np.bincount(loaded.model(image)[0].argmax(0).flatten(), minlength=11) / image[0, 0].numel()
    order = [int(label) for label in np.argsort(-shares[:10], kind="stable") if shares[label]]
    return xai.Engine(loaded), image, {label: float(shares[label]) for label in order}


def record(name: str = "photo") -> Any:
    return json.loads(Path(f"out/{name}.json").read_text())


def rows() -> list[dict[str, str]]:
    return [*csv.DictReader(Path("out/maps.csv").read_text().splitlines())]


def test_the_largest_class_is_explained(photo: Path) -> None:
    run = segment(photo, "--page")
    assert run.code == 0, run.err
    engine, image, shares = counts(photo)
    label, share = next(iter(shares.items()))
    assert engine.class_names is not None
    shown = f"{engine.class_names[label]} {100 * share:.1f}% of pixels"
    assert shown in run.out
    assert shown in Path("out/index.html").read_text()
    [row] = record()["maps"]
    assert (row["target"], row["target_id"], row["probability"]) == (engine.class_names[label], label, None)
    assert row["share"] == pytest.approx(share, abs=1e-6)
    assert [each["id"] for each in record()["predictions"]] == [*shares]
    assert [each["share"] for each in record()["predictions"]] == pytest.approx([*shares.values()], abs=1e-6)
    assert float(rows()[0]["share"]) == row["share"]
    expected = engine.explain(image, METHOD, xai.Region(label))[METHOD].values[0]
    np.testing.assert_allclose(np.load(f"out/{row['array']}"), expected.numpy(), atol=1e-6)


def test_selected_classes_are_explained(tmp_path: Path) -> None:
    both = tmp_path / "both.png"
    to_pil(xai.load_dataset("shapes-text:split=test")[2].image).save(both)  # type: ignore[arg-type]
    engine, image, shares = counts(both)
    assert len(shares) > 1
    assert segment(both, "--top", 2, "--target", "background").code == 0
    assert [row["target_id"] for row in record("both")["maps"]] == [*[*shares][:2], 10]
    for row in record("both")["maps"]:
        expected = engine.explain(image, METHOD, xai.Region(row["target_id"]))[METHOD].values[0]
        np.testing.assert_allclose(np.load(f"out/{row['array']}"), expected.numpy(), atol=1e-6)


def test_a_class_without_pixels_does_not_stop_the_others(photo: Path, tmp_path: Path) -> None:
    black = tmp_path / "black.png"
    Image.new("RGB", (64, 64)).save(black)
    star, missing = 8, next(label for label in range(10) if label not in counts(photo)[2])
    assert star in counts(photo)[2]
    run = segment(photo, black, "--target", "star", "--target", missing)
    assert run.code == 1
    assert "photo.png: the model finds no pixel of " in run.err
    assert "black.png: the model finds no pixel of star; " in run.err
    assert [row["target"] for row in rows()] == ["star"]


def test_a_photo_of_background_alone_is_reported(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "gray").save(tmp_path / "gray.png")
    assert not counts(tmp_path / "gray.png")[2]
    run = segment(tmp_path / "gray.png")
    assert run.code == 1
    assert "the model finds only background; the classes of its pixels are background 100.0% of pixels" in run.err


def test_options_of_another_kind_of_model_are_refused(photo: Path) -> None:
    refused(segment(photo, "--contrast", "star,cross"), "--contrast", "segmentation", "--target")
    refused(segment(photo, "--box", "1,2,3,4"), "a box needs a detector")
    refused(segment(photo, "--text", "a star"), "--text needs a model that compares images with texts")
    assert not Path("out").exists()


def test_the_demo_explains_the_largest_class(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xai_core.cli.actions.demonstration.list_explainers", lambda: [METHOD])
    run = Run("demo", "--limit", 1, "--model", "shapes-unet", "--data", f"folder:{photo.parent}")
    assert run.code == 0, run.err
    engine, image, shares = counts(photo)
    label, share = next(iter(shares.items()))
    assert engine.class_names is not None
    assert f"{engine.class_names[label]} {100 * share:.1f}% of pixels" in Path("xai-demo/index.html").read_text()
    with Path("xai-demo/results.csv").open() as file:
        [row] = [row for row in csv.DictReader(file) if row["metric"] == "insertion"]
    maps = engine.explain(image, METHOD, xai.Region(label))
    [expected] = engine.evaluate(image, maps, "insertion:steps=10")[METHOD]["insertion:steps=10"].values
    assert (row["target_id"], row["target_name"], row["probability"]) == (str(label), engine.class_names[label], "")
    assert float(row["score"]) == pytest.approx(float(expected), abs=1e-5)


def test_the_demo_reports_an_image_of_background_alone(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "gray").save(tmp_path / "gray.png")
    refused(Run("demo", "--model", "shapes-unet", "--data", f"folder:{tmp_path}"), "finds only background")
