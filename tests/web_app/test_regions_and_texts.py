"""The app explains a region of a segmentation that a user chooses, or a text that a user writes."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

import xai_core as xai
from support.app_models import saved_scene, segmenter_engine, text_engine
from xai_core.web_app import choices
from xai_core.web_app.download import results_zip
from xai_core.web_app.handlers import Handlers, Session
from xai_core.web_app.offered_models import OfferedModels
from xai_core.web_app.photo_maps import PhotoMaps

METHODS = ["grad-cam", "saliency"]


@pytest.fixture(scope="module")
def handlers() -> Handlers:
    return Handlers(OfferedModels({"segmenter": segmenter_engine, "texts": text_engine}))


def explained(
    handlers: Handlers, photo: Path, model: str, target: int | str = -1, text: str = ""
) -> tuple[PhotoMaps, Session, str, str]:
    """Return the maps of a photo, the session, and the predictions and the maps as HTML."""
    session = Session()
    *_, (predictions, maps) = handlers.explain(str(photo), model, METHODS, "", target, text, session)
    assert session.explained is not None
    return session.explained, session, predictions, maps


def record(explained: PhotoMaps) -> Any:
    with zipfile.ZipFile(io.BytesIO(results_zip(explained, {}, 0.5))) as file:
        return json.loads(file.read("results.json"))


def test_the_largest_region_is_explained_and_the_background_is_listed_last(handlers: Handlers, tmp_path: Path) -> None:
    photos, session, predictions, maps = explained(handlers, saved_scene(tmp_path, 8, 3, 25, 10), "segmenter")
    engine = handlers.models["segmenter"].engine
    [found] = engine.segment(photos.images)
    background, *objects = found
    assert background.name == "background"
    expected = engine.explain(photos.images, METHODS, xai.Region(objects[0].label))
    for method in METHODS:
        assert photos.maps[method].raw.equal(expected[method].raw)
    assert f"region of {objects[0].name}" in maps
    assert f"{100 * objects[0].share:.1f}%" in predictions
    options = handlers.found("segmenter", -1, session)
    assert options is not None
    assert [value for _, value in options["choices"]] == [-1, *map(str, objects), str(background)]
    assert [(row["name"], row["share"]) for row in record(photos)["predictions"]] == [
        (each.name, each.share) for each in [*objects, background]
    ]


def test_a_chosen_region_is_explained(handlers: Handlers, tmp_path: Path) -> None:
    photo = saved_scene(tmp_path, 8, 3, 25, 10)
    second = explained(handlers, photo, "segmenter")[0].found[1]
    photos, session, _, maps = explained(handlers, photo, "segmenter", str(second))
    assert handlers.found("texts", -1, session) is None, "the user has chosen another model since"
    assert photos.maps["grad-cam"].target.measure.ids.tolist() == [second.label]
    assert f"region of {second.name}" in maps
    options = handlers.found("segmenter", str(second), session)
    assert options is not None
    assert options["value"] == str(second)


def test_a_text_is_explained_with_its_logit(handlers: Handlers, tmp_path: Path) -> None:
    photos, session, predictions, maps = explained(
        handlers, saved_scene(tmp_path, 8, 3, 25, 10), "texts", text=" a red star "
    )
    engine = handlers.models["texts"].engine
    expected = engine.explain(photos.images, METHODS, xai.Text("a red star"))
    for method in METHODS:
        assert photos.maps[method].raw.equal(expected[method].raw)
    logit = float(engine.score(photos.images, xai.Text("a red star")))
    assert f"{logit:.2f}" in predictions
    assert record(photos)["logit"] == logit
    assert "a red star" in maps
    assert handlers.found("texts", -1, session) is None
    assert len([*handlers.curves(session)]) == 5


@pytest.mark.parametrize(
    ("text", "message"), [(" ", "Write a text about the photo"), ("a purple star", "purple")], ids=["empty", "unknown"]
)
def test_a_text_that_cannot_be_explained_is_one_message(
    handlers: Handlers, tmp_path: Path, text: str, message: str
) -> None:
    photo = str(saved_scene(tmp_path, 8, 3, 25, 10))
    [(predictions, shown)] = handlers.explain(photo, "texts", METHODS, "", -1, text, Session())
    assert predictions == ""
    assert message in shown


def test_a_model_for_texts_has_a_text_instead_of_a_class(handlers: Handlers) -> None:
    texts, segmenter = handlers.models["texts"], handlers.models["segmenter"]
    assert (choices.classes(texts)["visible"], choices.text(texts)["visible"]) == (False, True)
    assert (choices.classes(segmenter)["visible"], choices.text(segmenter)["visible"]) == (True, False)
    assert choices.classes(segmenter)["label"] == "Region"
