"""The ZIP file of the results."""

import io
import json
import zipfile

import numpy as np
from PIL import Image

from support.app_models import HOSTILE, cnn_engine
from xai_core.web_app.chosen_model import ChosenModel
from xai_core.web_app.curves import compute_curves
from xai_core.web_app.download import results_zip
from xai_core.web_app.photo_maps import explain_photo


def test_the_file_contains_maps_overlays_and_curves() -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
    model = ChosenModel.of(cnn_engine())
    *_, explained = explain_photo(model, photo, ["grad-cam", "grad-cam:layer=", "random"], None, None)
    *_, (curves, _) = compute_curves(explained)
    with zipfile.ZipFile(io.BytesIO(results_zip(explained, curves, 0.5))) as file:
        assert sorted(file.namelist()) == ["grad-cam.npy", "grad-cam.png", "random.npy", "random.png", "results.json"]
        values = np.load(io.BytesIO(file.read("random.npy")))
        assert np.array_equal(values, explained.maps["random"].values[0].numpy())
        overlay = np.asarray(Image.open(io.BytesIO(file.read("random.png"))))
        record = json.loads(file.read("results.json"))
    assert np.array_equal(overlay, np.asarray(explained.maps["random"].overlay(explained.shown, alpha=0.5)))
    assert record["maps"] == {"grad-cam": "grad-cam.npy", "random": "random.npy"}
    assert record["predictions"][0]["name"].startswith(HOSTILE)
    assert list(record["failures"]) == ["grad-cam:layer="]
    assert [line["method"] for line in record["curves"]["deletion"]] == ["grad-cam", "random"]
    assert len(record["curves"]["deletion"][0]["scores"]) == 29
