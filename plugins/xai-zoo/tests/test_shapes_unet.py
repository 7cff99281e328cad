"""The U-Net trained on shapes: its accuracy on unseen images, its classes, and how its weights were made."""

import csv
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

import xai_core as xai
import xai_zoo

FILE = Path(xai_zoo.__file__).parent / "weights" / "shapes-unet-shapes.safetensors"


def test_most_regions_of_unseen_images_are_those_of_the_object() -> None:
    loaded, count = xai.load_model("shapes-unet"), 100
    data = xai.load_dataset(f"shapes:split=test,count={count}")
    samples = [data[i] for i in range(count)]
    with torch.no_grad():
        scores = loaded.model(torch.stack([loaded.preprocess(sample.image) for sample in samples]))
    assert scores.shape == (count, 11, 64, 64)
    found = scores.argmax(1) == torch.tensor([sample.target for sample in samples])[:, None, None]
    masks = torch.stack([sample.mask for sample in samples if sample.mask is not None])
    overlap = (found & masks).sum((1, 2)) / (found | masks).sum((1, 2))
    assert (overlap > 0.5).double().mean() >= 0.85


def test_labels_of_shapes_are_the_first_classes() -> None:
    loaded = xai.load_model("shapes-unet")
    assert loaded.spec == "shapes-unet"
    assert loaded.class_names == (*xai.load_dataset("shapes").class_names, "background")  # type: ignore[attr-defined]
    assert xai.load_model("shapes-unet:weights=none").spec == "shapes-unet:weights=none"


def test_weights_are_small_and_state_how_they_were_made() -> None:
    assert FILE.stat().st_size <= 4_000_000
    with safe_open(FILE, "pt") as opened:
        metadata = opened.metadata()
    settings, best = json.loads(metadata["settings"]), json.loads(metadata["best"])
    assert metadata["command"].startswith("xai-zoo train shapes-unet:weights=none ")
    assert f" --data {settings['data']} " in metadata["command"]
    with FILE.with_suffix(".csv").open() as log:
        accuracies = [float(row["validation_accuracy"]) for row in csv.DictReader(log)]
    assert max(accuracies) == pytest.approx(best["validation_accuracy"], abs=1e-6)
