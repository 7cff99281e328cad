"""Weights that the package contains are small, and state the command, the settings and the log of their training."""

import csv
import json
from pathlib import Path

import pytest
from safetensors import safe_open

import xai_zoo

FOLDER = Path(xai_zoo.__file__).parent / "weights"
TRAINED_ON = {
    "shapes-cbam-shapes": ("shapes-cbam", "shapes"),
    "shapes-cbam-shapes-shortcut": ("shapes-cbam", "shapes-shortcut"),
    "shapes-clip-shapes": ("shapes-clip", "shapes-text"),
    "shapes-detector-shapes": ("shapes-detector", "shapes"),
    "shapes-unet-shapes": ("shapes-unet", "shapes"),
    "shapes-vit-class-shapes": ("shapes-vit", "shapes"),
    "shapes-vit-class-shapes-shortcut": ("shapes-vit", "shapes-shortcut"),
    "shapes-vit-shapes": ("shapes-vit", "shapes"),
    "shapes-vit-shapes-shortcut": ("shapes-vit", "shapes-shortcut"),
    "shapes3d-cnn-shapes3d": ("shapes3d-cnn", "shapes3d"),
}
"""The model and the dataset of each file."""


def test_every_file_is_listed() -> None:
    assert {path.stem for path in FOLDER.glob("*.safetensors")} == TRAINED_ON.keys()


@pytest.mark.parametrize("name", TRAINED_ON)
def test_weights_are_small_and_state_how_they_were_made(name: str) -> None:
    file, (model, data) = FOLDER / f"{name}.safetensors", TRAINED_ON[name]
    assert file.stat().st_size <= 4_000_000
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    settings, best = json.loads(metadata["settings"]), json.loads(metadata["best"])
    assert settings["data"].startswith(f"{data}:count=")
    assert settings["seed"] == 0
    assert metadata["command"].startswith(f"xai-zoo train {model}:weights=")
    assert f" --data {settings['data']} " in metadata["command"]
    assert json.loads(metadata["versions"])["torch"]
    with file.with_suffix(".csv").open() as log:
        rows = {int(row["epoch"]): float(row["validation_accuracy"]) for row in csv.DictReader(log)}
    assert [*rows] == [*range(1, len(rows) + 1)]
    assert best["validation_accuracy"] == pytest.approx(rows[best["epoch"]], abs=1e-6)
    assert best["validation_accuracy"] == pytest.approx(max(rows.values()), abs=1e-6)
