"""The app explains the best detection in a photo, or the one that a user chooses."""

import io
import json
import zipfile
from pathlib import Path

import pytest

import xai_core as xai
from support.app_models import detector_engine, preprocess, saved_photo, saved_scene
from support.detectors import ListDetector
from xai_core.web_app.download import results_zip
from xai_core.web_app.handlers import Handlers, Session
from xai_core.web_app.offered_models import OfferedModels
from xai_core.web_app.photo_maps import PhotoMaps

METHODS = ["grad-cam", "odam"]


def blind_engine() -> xai.Engine:
    """A detector that detects nothing."""
    model = ListDetector().eval()
    model.threshold = 2
    return xai.Engine(xai.LoadedModel(model, preprocess))


@pytest.fixture(scope="module")
def handlers() -> Handlers:
    return Handlers(OfferedModels({"detector": detector_engine, "blind": blind_engine}))


def explained(handlers: Handlers, photo: Path, target: int | str = -1) -> tuple[PhotoMaps, Session, str, str]:
    """Return the maps of a photo, the session, and the predictions and the maps as HTML."""
    session = Session()
    *_, (predictions, maps) = handlers.explain(str(photo), "detector", METHODS, "", target, "", session)
    assert session.explained is not None
    return session.explained, session, predictions, maps


def test_the_best_detection_is_explained(handlers: Handlers, tmp_path: Path) -> None:
    photos, session, predictions, maps = explained(handlers, saved_scene(tmp_path, 8, 3, 25, 10))
    engine = handlers.models["detector"].engine
    [found] = engine.detect(photos.images)
    expected = engine.explain(photos.images, METHODS, xai.Box(found[0].box, found[0].label))
    for method in METHODS:
        assert photos.maps[method].raw.equal(expected[method].raw)
    assert f"{found[0].name} {found[0].score:.2f}" in maps
    assert predictions.count("<li>") == len(found) == 5
    choices = handlers.found("detector", -1, session)
    assert choices is not None
    assert [value for _, value in choices["choices"]] == [-1, *map(str, found)]
    assert choices["value"] == -1


def test_a_chosen_detection_is_explained(handlers: Handlers, tmp_path: Path) -> None:
    first, *_ = explained(handlers, saved_scene(tmp_path, 8, 3, 25, 10))
    second = first.found[1]
    photos, session, _, maps = explained(handlers, saved_scene(tmp_path, 8, 3, 25, 10), str(second))
    target = photos.maps["odam"].target
    assert target.measure.boxes[0].tolist() == pytest.approx(second.box)
    assert f"{second.name} {second.score:.2f}" in maps
    choices = handlers.found("detector", str(second), session)
    assert choices is not None
    assert choices["value"] == str(second)


def test_in_another_photo_the_best_detection_is_explained(handlers: Handlers, tmp_path: Path) -> None:
    first, *_ = explained(handlers, saved_scene(tmp_path, 8, 3, 25, 10))
    chosen = str(first.found[1])
    photos, session, _, _ = explained(handlers, saved_scene(tmp_path, 3, 3, 3, 3), chosen)
    assert photos.maps["odam"].target.measure.boxes[0].tolist() == pytest.approx(photos.found[0].box)
    choices = handlers.found("detector", chosen, session)
    assert choices is not None
    assert choices["value"] == -1


def test_a_photo_without_detections_is_an_error(handlers: Handlers, tmp_path: Path) -> None:
    session = Session()
    photo = str(saved_photo(tmp_path))
    [(_, message)] = handlers.explain(photo, "blind", METHODS, "", -1, "", session)
    assert message.count('role="alert"') == 1
    assert "the detector detects no object in this photo" in message
    assert handlers.found("detector", -1, session) is None


def test_the_download_contains_boxes_in_pixels_of_the_photo(handlers: Handlers, tmp_path: Path) -> None:
    photos, *_ = explained(handlers, saved_scene(tmp_path, 8, 3, 25, 10))
    with zipfile.ZipFile(io.BytesIO(results_zip(photos, {}, 0.5))) as file:
        record = json.loads(file.read("results.json"))
    for each, detection in zip(record["predictions"], photos.found, strict=True):
        assert (each["id"], each["name"], each["probability"]) == (detection.label, detection.name, detection.score)
        assert each["box"] == pytest.approx([2 * side for side in detection.box], abs=0.1)
