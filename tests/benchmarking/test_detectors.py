"""Benchmarks of detectors: which detection is explained, and images without one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor
from torchvision.ops import box_convert, box_iou

import xai_core as xai
from support.benchmark_runs import Speckles, by_key, run
from support.detectors import ListDetector
from support.models import settled
from xai_core.benchmarking.shards import CURVES

SHAPES = "shapes:split=test"
METHODS = ["odam", "center"]
METRICS = ["deletion:steps=4", "pointing-game", "energy-pointing-game"]


def of_shapes(out: Path, **options: Any) -> xai.Run:
    options = {"methods": METHODS, "metrics": METRICS, "limit": 3, **options}
    return run(out, SHAPES, models="shapes-detector", **options)  # type: ignore[arg-type]


def detections(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the boxes xyxy and the class probabilities of an image, from the output of the model."""
    with torch.no_grad():
        [found] = xai.load_model("shapes-detector").model(image[None])
    return box_convert(found[:4].T, "cxcywh", "xyxy"), found[4:].T


def test_the_best_detection_is_explained(tmp_path: Path) -> None:
    rows = by_key(of_shapes(tmp_path).rows())
    model = xai.load_model("shapes-detector")
    engine = xai.Engine(model)
    for index in range(3):
        sample = xai.load_dataset(SHAPES)[index]
        image = model.preprocess(sample.image)
        boxes, probabilities = detections(image)
        best = probabilities.amax(1).argmax()
        maps = engine.explain(image[None], METHODS, xai.Box(boxes[best]))
        scores = engine.evaluate(image[None], maps, METRICS, sample.mask[None])
        for method in METHODS:
            for metric in METRICS:
                row = rows[sample.id, method, metric]
                assert row["target"] == int(probabilities[best].argmax())
                assert row["score"] == pytest.approx(float(scores[method][metric].values), abs=1e-4)


def test_with_labels_the_best_detection_of_the_label_is_explained(tmp_path: Path) -> None:
    finished = of_shapes(tmp_path, target="label", metrics=METRICS[:1])
    [file] = (tmp_path / CURVES).iterdir()
    curves = pq.read_table(file)
    first = {(row["image"], row["method"]): row["scores"][0] for row in curves.to_pylist()}
    rows = by_key(finished.rows())
    for index in range(3):
        sample = xai.load_dataset(SHAPES)[index]
        boxes, probabilities = detections(xai.load_model("shapes-detector").preprocess(sample.image))
        label = torch.nn.functional.one_hot(torch.tensor(sample.target), probabilities.shape[1]).float()
        values = torch.cosine_similarity(probabilities, label[None], dim=1) * probabilities.amax(1)
        matches = values * box_iou(boxes, boxes[values.argmax()][None])[:, 0]
        for method in METHODS:
            assert rows[sample.id, method, METRICS[0]]["target"] == sample.target
            assert first[sample.id, method] == pytest.approx(float(matches.amax()), abs=1e-5)


@dataclass(frozen=True)
class WithBlack(Speckles):
    """Random images, of which the second is black."""

    def __getitem__(self, index: int, /) -> xai.Sample:
        sample = super().__getitem__(index)
        return xai.Sample(sample.image * (index != 1), sample.id, sample.target)


class Sighted(ListDetector):
    """Detects nothing in images that are black."""

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Return the detections of the other images."""
        return [
            {name: values[: len(values) * bool(image.any())] for name, values in found.items()}
            for image, found in zip(images, super().forward(images), strict=True)
        ]


@pytest.mark.parametrize("target", ["predicted", "label"])
def test_an_image_without_a_detection_has_an_error_in_its_own_rows(target: str, tmp_path: Path) -> None:
    data, model = WithBlack(4, 64), settled(Sighted())
    model.threshold = 0.0
    finished = run(tmp_path, data, model, methods=["grad-cam", "d-rise:masks=8"], metrics=METRICS[:1], target=target)
    for row in finished.rows().to_pylist():
        if row["index"] == 1:
            assert "the detector detects no object" in row["error"]
        elif target == "predicted":
            assert row["error"] is None
            assert row["score"] is not None
