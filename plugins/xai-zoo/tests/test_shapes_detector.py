"""The detector trained on shapes: its accuracy on unseen images, its classes, and how its weights were made."""

import pytest
import torch
from torchvision.ops import box_convert, box_iou

import xai_core as xai
from xai_core.plugin import OptionError


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
