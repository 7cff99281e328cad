"""Benchmarks of models for segmentation and for texts: what is explained, and images without it."""

from pathlib import Path
from typing import Any

import pytest
import torch

import xai_core as xai
from support.benchmark_runs import Speckles, by_key, run

METRICS = ["deletion:steps=4", "pointing-game"]


def scores(model: str, data: str, target: Any, method: str, index: int) -> dict[str, float]:
    """Return the scores of one map that an engine computes without a benchmark."""
    loaded, sample = xai.load_model(model), xai.load_dataset(data)[index]
    image, engine = loaded.preprocess(sample.image)[None], xai.Engine(loaded)
    assert sample.mask is not None
    results = engine.evaluate(image, engine.explain(image, method, target), METRICS, sample.mask[None])[method]
    return {metric: float(result.values) for metric, result in results.items()}


@pytest.mark.parametrize("target", ["predicted", "label"])
def test_the_region_of_the_largest_class_or_of_the_label_is_explained(target: str, tmp_path: Path) -> None:
    data, method = "shapes:split=test", "seg-grad-cam"
    finished = run(tmp_path, data, models="shapes-unet", methods=[method], metrics=METRICS, limit=2, target=target)
    rows, model = by_key(finished.rows()), xai.load_model("shapes-unet")
    for index in range(2):
        sample = xai.load_dataset(data)[index]
        with torch.no_grad():
            pixels = model.model(model.preprocess(sample.image)[None]).argmax(1).flatten()
        label = int(pixels.bincount(minlength=11)[:10].argmax()) if target == "predicted" else sample.target
        for metric, expected in scores("shapes-unet", data, xai.Region(label), method, index).items():
            row = rows[sample.id, method, metric]
            assert (row["error"], row["target"]) == (None, label)
            assert row["score"] == pytest.approx(expected, abs=1e-4)


def test_the_text_of_each_image_is_explained(tmp_path: Path) -> None:
    data, method = "shapes-text:split=test", "grad-eclip"
    finished = run(tmp_path, data, models="shapes-clip", methods=[method], metrics=METRICS, limit=2)
    rows = by_key(finished.rows())
    for index in range(2):
        sample = xai.load_dataset(data)[index]
        for metric, expected in scores("shapes-clip", data, xai.Text(str(sample.text)), method, index).items():
            row = rows[sample.id, method, metric]
            assert (row["error"], row["target"]) == (None, None)
            assert row["score"] == pytest.approx(expected, abs=1e-4)


def test_images_without_a_text_have_an_error_in_their_rows(tmp_path: Path) -> None:
    finished = run(tmp_path, Speckles(2, 64), models="shapes-clip", methods=["center"], metrics=METRICS[:1])
    for row in finished.rows().to_pylist():
        assert "the image has no text" in row["error"]


def test_an_image_of_background_has_an_error_in_its_own_rows(tmp_path: Path) -> None:
    star = xai.load_dataset("shapes:split=test")[8]
    images = [star.image, torch.full((3, 64, 64), 0.5)]
    data = xai.as_dataset([(image, 8) for image in images])
    finished = run(tmp_path, data, models="shapes-unet", methods=["center"], metrics=METRICS[:1])
    first, second = finished.rows().to_pylist()
    assert (first["error"], first["target"]) == (None, 8)
    assert "only background" in second["error"]
