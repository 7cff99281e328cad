"""The detector trained on shapes: its accuracy on unseen images, its classes, and how its weights were made."""

import csv
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torchvision.ops import box_convert, box_iou

import xai_core as xai
import xai_zoo
from xai_core.plugin import OptionError

FILE = Path(xai_zoo.__file__).parent / "weights" / "shapes-detector-shapes.safetensors"


def test_most_best_detections_in_unseen_images_are_right() -> None:
    loaded, count = xai.load_model("shapes-detector"), 100
    data = xai.load_dataset(f"shapes:split=test,count={count}")
    samples = [data[i] for i in range(count)]
    with torch.no_grad():
        found = loaded.model(torch.stack([loaded.preprocess(sample.image) for sample in samples]))
    assert found.shape == (count, 4 + 10, 64)
    right = 0
    for sample, cells in zip(samples, found.mT, strict=True):
        scores, labels = cells[:, 4:].max(1)
        best = scores.argmax()
        assert sample.boxes is not None
        overlap = box_iou(box_convert(cells[best, :4], "cxcywh", "xyxy")[None], sample.boxes)
        right += bool(labels[best] == sample.target) and float(overlap) > 0.5
    assert right >= 0.9 * count


def test_classes_and_sizes() -> None:
    loaded = xai.load_model("shapes-detector:size=128")
    assert loaded.spec == "shapes-detector:size=128"
    assert tuple(loaded.class_names) == tuple(xai.load_dataset("shapes").class_names)  # type: ignore[attr-defined, arg-type]
    assert loaded.model(loaded.preprocess(torch.rand(3, 50, 70))[None]).shape == (1, 14, 256)
    for size in (24, 100):
        with pytest.raises(OptionError, match="size"):
            xai.load_model(f"shapes-detector:size={size}")


def test_weights_are_small_and_state_how_they_were_made() -> None:
    assert FILE.stat().st_size <= 4_000_000
    with safe_open(FILE, "pt") as opened:
        metadata = opened.metadata()
    settings, best = json.loads(metadata["settings"]), json.loads(metadata["best"])
    assert metadata["command"].startswith("xai-zoo train shapes-detector:weights=none ")
    assert f" --data {settings['data']} " in metadata["command"]
    with FILE.with_suffix(".csv").open() as log:
        accuracies = [float(row["validation_accuracy"]) for row in csv.DictReader(log)]
    assert max(accuracies) == pytest.approx(best["validation_accuracy"], abs=1e-6)
