"""The functions of the app return maps, curves, attention and errors, without a browser and without Gradio."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import xai_core as xai
from support.app_models import HOSTILE, cnn_engine, saved_photo, vit_engine
from support.models import SmallCNN
from xai_core.errors import InputTypeError
from xai_core.web_app import choices, photo_maps
from xai_core.web_app.chosen_model import ChosenModel
from xai_core.web_app.curves import METRICS
from xai_core.web_app.handlers import Handlers, Session
from xai_core.web_app.offered_models import OfferedModels
from xai_core.web_app.photo_maps import PhotoMaps

METHODS = ["grad-cam", "occlusion:size=8,stride=8"]


@pytest.fixture(scope="module")
def handlers() -> Handlers:
    return Handlers(OfferedModels({"cnn": cnn_engine, "vit": vit_engine}))


@pytest.fixture
def photo(tmp_path: Path) -> str:
    return str(saved_photo(tmp_path))


def shown(
    handlers: Handlers,
    photo: str | None,
    methods: list[str],
    model: str = "cnn",
    layer: str = "",
    target: int = -1,
    session: Session | None = None,
) -> tuple[str, str]:
    """The predictions and the maps at the end."""
    return [*handlers.explain(photo, model, methods, layer, target, "", session or Session())][-1]


def test_single_pass_methods_come_first_and_slow_methods_are_announced(handlers: Handlers, photo: str) -> None:
    pages = [maps for _, maps in handlers.explain(photo, "cnn", METHODS[::-1], "", -1, "", Session())]
    assert [page.count("xai-overlay") for page in pages] == [0, 1, 2]
    assert [page.count("xai-pending") for page in pages] == [2, 1, 0]
    assert pages[-1].index("occlusion") < pages[-1].index("grad-cam"), "in the order of the user"


def test_a_map_at_full_opacity_over_the_photo_is_the_overlay_of_any_opacity(handlers: Handlers, photo: str) -> None:
    session = Session()
    shown(handlers, photo, METHODS, session=session)
    assert session.explained is not None
    for saliency in session.explained.maps.values():
        full, half = (np.asarray(saliency.overlay(Image.open(photo), alpha=alpha), float) for alpha in (1, 0.5))
        assert np.abs((np.asarray(Image.open(photo), float) + full) / 2 - half).max() <= 1  # both are rounded


def test_the_chosen_class_and_layer_are_explained(handlers: Handlers, photo: str) -> None:
    session = Session()
    model = handlers.models["cnn"]
    layer = model.layers[0]
    shown(handlers, photo, METHODS, layer=layer, target=2, session=session)
    assert session.explained is not None
    expected = model.engine.explain(session.explained.images, f"grad-cam:layer={layer}", target=2)
    assert session.explained.maps["grad-cam"].raw.equal(next(iter(expected.values())).raw)


def test_names_of_classes_are_text(handlers: Handlers, photo: str) -> None:
    predictions, maps = shown(handlers, photo, METHODS)
    assert HOSTILE not in predictions + maps
    assert "&lt;img src=x onerror=" in predictions
    assert "&lt;img src=x onerror=" in maps


def test_a_method_that_fails_leaves_the_others(handlers: Handlers, photo: str) -> None:
    methods = ["grad-cam", "rollout", "grad-cma", "<b>", "occlusion:size=0"]
    _, maps = shown(handlers, photo, methods)
    assert maps.count("xai-overlay") == 1
    assert maps.count('role="alert"') == 4
    assert "did you mean" in maps.casefold()
    assert "<b><" not in maps


def test_no_more_methods_run_than_can_be_selected(handlers: Handlers, photo: str) -> None:
    session = Session()
    shown(handlers, photo, [f"random:seed={seed}" for seed in range(20)], session=session)
    assert session.explained is not None
    assert len(session.explained.maps) == choices.MOST_METHODS


def test_errors_are_plain_and_contain_no_folder(handlers: Handlers, tmp_path: Path) -> None:
    broken = tmp_path / "<u>notes.png"
    broken.write_text("not an image")
    _, message = shown(handlers, str(broken), METHODS)
    assert "&lt;u&gt;notes.png cannot be read as an image" in message
    assert str(tmp_path) not in message
    broken.unlink()
    assert "was deleted after a while; upload it again" in shown(handlers, str(broken), METHODS)[1]


def test_an_image_with_too_many_pixels_is_not_decoded(
    handlers: Handlers, photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    monkeypatch.setenv("XAI_MAX_PIXELS", "100")
    assert "photo.png is too large to be decoded safely" in shown(handlers, photo, METHODS)[1]


def test_without_a_photo_or_a_method_the_page_states_what_to_do(handlers: Handlers, photo: str) -> None:
    assert "Drop a photo" in handlers.clear(Session())[1]
    assert [*handlers.explain(None, "cnn", METHODS, "", -1, "", Session())] == [None]
    assert "Select at least one method" in shown(handlers, photo, [])[1]
    assert "after the maps" in next(handlers.curves(Session()))


def test_curves_are_added_one_by_one(handlers: Handlers, photo: str) -> None:
    session = Session()
    shown(handlers, photo, METHODS, session=session)
    pages = [*handlers.curves(session)]
    assert [page.count("<polyline") for page in pages] == [0, 1, 2, 3, 4]
    assert session.explained is not None
    maps = session.explained.maps["grad-cam"]
    expected = handlers.models["cnn"].engine.evaluate(session.explained.images, maps, "deletion:steps=28")
    assert [line.method for line in session.curves["insertion"]] == METHODS
    assert session.curves["deletion"][0].area == float(expected["deletion:steps=28"].values[0])


def test_a_new_request_ends_the_earlier_one(handlers: Handlers, photo: str) -> None:
    session = Session()
    shown(handlers, photo, METHODS, session=session)
    curves = handlers.curves(session)
    next(curves)
    maps = handlers.explain(photo, "cnn", METHODS, "", -1, "", session)
    next(maps)
    assert [*curves] == [None], "Gradio shows the last value again, after those of the new request"
    shown(handlers, photo, METHODS[:1], session=session)
    assert [*maps] == [None]
    assert session.explained is not None
    assert [*session.explained.maps] == METHODS[:1]


def test_an_earlier_request_that_ends_does_not_prevent_the_curves(
    handlers: Handlers, photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The curves of the earlier request are requested after the later one has begun, and before it has maps."""
    session = Session()

    def explain_photo(*args: Any) -> Iterator[PhotoMaps]:
        [*handlers.curves(session)]
        yield from photo_maps.explain_photo(*args)

    monkeypatch.setattr("xai_core.web_app.handlers.explain_photo", explain_photo)
    shown(handlers, photo, METHODS, session=session)
    assert len([*handlers.curves(session)]) == 5


def test_curves_wait_for_all_maps_and_are_computed_once(handlers: Handlers, photo: str) -> None:
    session = Session()
    maps = handlers.explain(photo, "cnn", METHODS, "", -1, "", session)
    next(maps)
    assert [*handlers.curves(session)] == [None]
    assert len([*maps]) == 2
    assert len([*handlers.curves(session)]) == 5
    assert [*handlers.curves(session)] == [None]


def test_two_users_have_results_of_their_own(handlers: Handlers, photo: str) -> None:
    first, second = Session(), Session()
    one = handlers.explain(photo, "cnn", METHODS[:1], "", 0, "", first)
    two = handlers.explain(photo, "vit", METHODS[:1], "", 1, "", second)
    for _ in zip(one, two, strict=True):
        pass
    assert first.explained is not None
    assert second.explained is not None
    assert first.explained.maps["grad-cam"].raw.shape != second.explained.maps["grad-cam"].raw.shape


def test_each_head_has_a_panel(handlers: Handlers, photo: str) -> None:
    layer = handlers.models["vit"].attention[-1]
    page = handlers.attention(photo, "vit", layer.name, 10**6)
    heads = handlers.models["vit"].engine.attention(handlers.models["vit"].loaded.preprocess(Image.open(photo))[None])
    assert page.count("<figure") == heads.layers[-1].heads
    assert f"attention of token {layer.tokens - 1}" in page
    assert "no attention over the image" in handlers.attention(photo, "cnn", None, 0)


def test_repeated_names_of_classes_are_told_apart() -> None:
    engine = cnn_engine()
    assert engine.loaded is not None
    names = ["crane"] * len(engine.class_names or ())
    model = ChosenModel.of(xai.Engine(xai.LoadedModel(engine.model, engine.loaded.preprocess, names)))
    assert model.classes[:2] == [("crane (0)", 0), ("crane (1)", 1)]


def test_a_module_without_preprocessing_is_rejected() -> None:
    with pytest.raises(InputTypeError, match="create the engine with a LoadedModel"):
        ChosenModel.of(xai.Engine(SmallCNN()))


def test_metrics_have_titles() -> None:
    assert METRICS == ("deletion", "insertion")
