"""Pictures of saliency maps: overlays, files, plots, and the display of notebooks."""

import io
import pickle
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor, nn
from torchvision.transforms import v2

import xai_core as xai
from support.models import SmallCNN, settled
from xai_core.errors import InputShapeError, OptionError, TargetError, UnsuitableError
from xai_core.targets.target import BoundTarget

NAMES = [f"<b>class</b> {number}" for number in range(5)]
PHOTO = Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))
CROP = v2.Compose([v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.CenterCrop(32)])


def preprocess(image: Image.Image | Tensor) -> Tensor:
    return image[:, 8:40, 16:48] if isinstance(image, Tensor) else CROP(image)


@pytest.fixture(scope="module")
def engine() -> xai.Engine:
    torch.manual_seed(0)
    model = settled(SmallCNN())
    names = NAMES[: model(torch.rand(1, 3, 32, 32)).shape[1]]
    return xai.Engine(xai.LoadedModel(model, preprocess, names, lambda image: image))


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.stack([preprocess(PHOTO), preprocess(PHOTO.rotate(180))])


@pytest.fixture(scope="module")
def maps(engine: xai.Engine, images: Tensor) -> dict[str, xai.Saliency]:
    return engine.explain(images, ["layer-cam", "occlusion:size=8,stride=8"])


@pytest.fixture(autouse=True)
def _no_open_figures() -> None:
    plt.close("all")


def test_an_overlay_is_drawn_on_what_the_model_received(maps: dict[str, xai.Saliency], images: Tensor) -> None:
    plain = np.asarray(maps["layer-cam"][0].overlay(alpha=0))
    assert np.array_equal(plain, (images[0] * 255).round().byte().permute(1, 2, 0).numpy())


def test_the_map_is_placed_where_the_crop_was(maps: dict[str, xai.Saliency]) -> None:
    on_photo = np.asarray(maps["layer-cam"][0].overlay(PHOTO))
    assert on_photo.shape == (48, 64, 3)
    assert np.array_equal(on_photo[8:40, 16:48], np.asarray(maps["layer-cam"][0].overlay()))
    outside = np.ones((48, 64), bool)
    outside[8:40, 16:48] = False
    assert np.array_equal(on_photo[outside], np.asarray(PHOTO)[outside])


def test_several_images_are_side_by_side(maps: dict[str, xai.Saliency]) -> None:
    assert maps["layer-cam"].overlay().size == (2 * 32 + 2, 32)
    assert maps["layer-cam"].overlay([PHOTO, PHOTO]).size == (2 * 64 + 2, 48)
    with pytest.raises(InputShapeError, match="a photo for each of 2 images, got 1"):
        maps["layer-cam"].overlay(PHOTO)


def test_a_photo_of_another_size_needs_the_preprocessing(images: Tensor) -> None:
    maps = xai.Engine(settled(SmallCNN())).explain(images[:1], "layer-cam")
    assert maps["layer-cam"].overlay(PHOTO.crop((0, 0, 32, 32))).size == (32, 32)
    with pytest.raises(UnsuitableError, match="create the engine with a LoadedModel"):
        maps["layer-cam"].overlay(PHOTO)


def test_signed_maps_are_drawn_in_two_colors(maps: dict[str, xai.Saliency]) -> None:
    signed = maps["occlusion:size=8,stride=8"]
    assert signed.raw.min() < 0
    assert signed[0].plot().figure.axes[1].get_ylim()[0] < 0
    assert maps["layer-cam"][0].plot().figure.axes[1].get_ylim()[0] == 0


@pytest.mark.parametrize(
    ("suffix", "start"),
    [("png", b"\x89PNG"), ("jpg", b"\xff\xd8"), ("webp", b"RIFF"), ("pdf", b"%PDF"), ("svg", b"<?xml")],
)
def test_every_format_is_saved(maps: dict[str, xai.Saliency], tmp_path: Path, suffix: str, start: bytes) -> None:
    maps["layer-cam"].save(tmp_path / f"maps.{suffix}")
    content = (tmp_path / f"maps.{suffix}").read_bytes()
    assert content.startswith(start)
    if suffix in ("png", "webp"):
        assert Image.open(io.BytesIO(content)).size == maps["layer-cam"].overlay().size
    maps.draw().savefig(tmp_path / f"grid.{suffix}")  # type: ignore[attr-defined]
    maps.save(tmp_path / f"grid2.{suffix}")  # type: ignore[attr-defined]
    assert (tmp_path / f"grid2.{suffix}").read_bytes().startswith(start)


def test_another_extension_is_rejected(maps: dict[str, xai.Saliency], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"'maps.tiff'; expected a name with .png, .jpg, .webp, .pdf or .svg"):
        maps["layer-cam"].save(tmp_path / "maps.tiff")


def test_one_map_is_plotted_into_axes(maps: dict[str, xai.Saliency]) -> None:
    ax = Figure().subplots()
    assert maps["layer-cam"][1].plot(ax) is ax
    assert len(ax.images) == 1
    [_, bar] = ax.figure.axes
    limit = np.quantile(maps["layer-cam"][1].values.numpy(), 0.99)
    assert bar.get_ylim() == pytest.approx((0, limit), rel=1e-5)
    with pytest.raises(InputShapeError, match="expected one map, got 2"):
        maps["layer-cam"].plot()


def test_captions_state_the_class_its_probability_and_the_predicted_class(engine: xai.Engine, images: Tensor) -> None:
    probabilities = engine.model(images).softmax(1)
    predicted = int(probabilities[0].argmax())
    other = (predicted + 1) % probabilities.shape[1]
    [saliency] = engine.explain(images, "layer-cam", other).values()
    assert saliency.view is not None
    assert saliency.view.caption(0, saliency.target) == (  # type: ignore[arg-type]
        f"{NAMES[other]} {probabilities[0, other]:.2f}\npredicted: {NAMES[predicted]} {probabilities[0, predicted]:.2f}"
    )
    [contrast] = engine.explain(images, "layer-cam", xai.Contrast(0, 1)).values()
    assert contrast.view is not None
    assert contrast.view.caption(0, contrast.target).startswith(f"{NAMES[0]}, not {NAMES[1]}\npredicted")  # type: ignore[arg-type]


def test_each_target_has_a_panel(engine: xai.Engine, images: Tensor) -> None:
    [saliency] = engine.explain(images, "layer-cam", [[0, 1], [1, 2]]).values()
    figure = xai.draw(None, {"layer-cam": saliency})
    captions = [ax.get_xlabel() for ax in figure.axes if ax.images and not ax.get_title()]
    assert [caption.split(" 0.")[0] for caption in captions] == [NAMES[number] for number in (0, 1, 1, 2)]


def test_the_grid_shows_scores(engine: xai.Engine, images: Tensor, maps: dict[str, xai.Saliency]) -> None:
    scores = engine.evaluate(images, maps, "deletion:steps=2")
    figure = xai.draw([PHOTO, PHOTO], maps, scores)
    captions = [ax.get_xlabel() for ax in figure.axes if ax.get_title() == "layer-cam"]
    values = scores["layer-cam"]["deletion:steps=2"].values.tolist()
    assert captions == [f"deletion:steps=2 {value:.3f}" for value in values]


def test_own_tensors_are_drawn(images: Tensor) -> None:
    figure = xai.draw(images, {"mine": images.mean(1)})
    assert sum(bool(ax.images) for ax in figure.axes) == 4
    with pytest.raises(InputShapeError, match="an image for each of 2 maps 'mine', got 1"):
        xai.draw(images[:1], {"mine": images.mean(1)})
    with pytest.raises(UnsuitableError, match="pass the photo"):
        xai.draw(None, {"mine": images.mean(1)})


def test_many_methods_continue_in_the_next_row(maps: dict[str, xai.Saliency]) -> None:
    figure = xai.draw(None, {f"method-{number}": maps["layer-cam"][0] for number in range(12)})
    positions = {round(ax.get_subplotspec().get_geometry()[0]) for ax in figure.axes if ax.get_subplotspec()}
    assert positions == {2}
    assert sum(bool(ax.images) for ax in figure.axes) == 13


def test_show_opens_a_window_with_the_maps(maps: dict[str, xai.Saliency], monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    monkeypatch.setattr(plt, "show", lambda: shown.append(sum(bool(ax.images) for ax in plt.gcf().axes)))
    maps["layer-cam"].show()
    xai.show(None, maps)
    maps.show()  # type: ignore[attr-defined]
    assert shown == [2, 6, 6]


def test_saved_maps_need_a_photo(maps: dict[str, xai.Saliency]) -> None:
    loaded = pickle.loads(pickle.dumps(maps))
    assert loaded["layer-cam"].view is None
    assert len(pickle.dumps(maps["layer-cam"])) < 40_000
    with pytest.raises(UnsuitableError, match="because it was saved"):
        loaded["layer-cam"].overlay()
    assert loaded["layer-cam"][0].overlay(PHOTO.crop((0, 0, 32, 32))).size == (32, 32)


def test_notebooks_display_maps_with_escaped_names(maps: dict[str, xai.Saliency]) -> None:
    for html in (maps["layer-cam"]._repr_html_(), maps._repr_html_()):  # type: ignore[attr-defined]
        assert "data:image/webp" in html
        assert "&lt;b&gt;class&lt;/b&gt;" in html
        assert "<b>" not in html


def test_notebooks_display_other_results(engine: xai.Engine, images: Tensor, maps: dict[str, xai.Saliency]) -> None:
    results = engine.evaluate(images, maps["layer-cam"], "deletion:steps=2")
    loaded = xai.LoadedModel(engine.model, preprocess, NAMES, None, "<i>")
    sample = xai.Sample(PHOTO, "<i>", 3)
    for shown in (engine, engine.predict(images), results["deletion:steps=2"], loaded, sample):
        html = shown._repr_html_()
        assert html.startswith("<")
        assert "<i>" not in html
        assert "<b>class" not in html


def test_constant_maps_are_marked(images: Tensor, maps: dict[str, xai.Saliency]) -> None:
    flat = replace(maps["layer-cam"], constant=torch.tensor([True, False]))
    figure = xai.draw(None, {"flat": flat})
    assert [ax.get_xlabel() for ax in figure.axes if ax.get_title() == "flat"] == ["constant map", ""]


def test_predictions_are_the_highest_probabilities(engine: xai.Engine, images: Tensor) -> None:
    predictions = engine.predict(images, top=2)
    expected = engine.model(images).softmax(1).topk(2)
    torch.testing.assert_close(predictions.probabilities, expected.values)
    assert torch.equal(predictions.ids, expected.indices)
    assert predictions.names == [[NAMES[number] for number in row] for row in expected.indices.tolist()]
    assert len(repr(predictions)) < 200


def test_probabilities_of_a_model_that_ends_in_a_softmax_are_its_own(images: Tensor) -> None:
    model = nn.Sequential(settled(SmallCNN()), nn.Softmax(1))
    predictions = xai.Engine(model).predict(images)
    torch.testing.assert_close(predictions.probabilities, model(images).topk(5).values)


def test_targets_can_be_class_names(engine: xai.Engine, images: Tensor) -> None:
    [by_name] = engine.explain(images, "layer-cam", [NAMES[1], NAMES[0].upper()]).values()
    [by_id] = engine.explain(images, "layer-cam", [1, 0]).values()
    assert torch.equal(by_name.values, by_id.values)
    for named, numbered in ((xai.Contrast(NAMES[2], NAMES[0]), xai.Contrast(2, 0)), (NAMES[2], 2)):
        [by_name], [by_id] = (engine.explain(images, "layer-cam", target).values() for target in (named, numbered))
        assert torch.equal(by_name.values, by_id.values)
    with pytest.raises(TargetError, match="the model has no class 'clas 1'"):
        engine.explain(images, "layer-cam", "clas 1")
    with pytest.raises(TargetError, match="no class names"):
        xai.Engine(settled(SmallCNN())).explain(images, "layer-cam", "cat")


def test_class_names_of_another_model_are_rejected_before_a_map_has_a_wrong_name(images: Tensor) -> None:
    engine = xai.Engine(xai.LoadedModel(settled(SmallCNN()), preprocess, ["cat", "dog"]))
    for explain in (engine.predict, lambda images: engine.explain(images, "layer-cam")):
        with pytest.raises(OptionError, match=r"has \d+ classes, but 2 class names"):
            explain(images)


def test_an_image_is_loaded_as_explain_takes_it(engine: xai.Engine, tmp_path: Path) -> None:
    PHOTO.save(tmp_path / "photo.png")
    loaded = xai.LoadedModel(engine.model, preprocess)
    expected = preprocess(PHOTO)[None]
    assert torch.equal(xai.load_image(tmp_path / "photo.png", loaded), expected)
    assert torch.equal(xai.load_image([PHOTO, str(tmp_path / "photo.png")], loaded), torch.cat([expected, expected]))
    with pytest.raises(xai.XAIError, match="expected a LoadedModel"):
        xai.load_image(PHOTO, engine.model)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="top"):
        engine.predict(expected, top=0)


def test_curves_and_values_are_plotted(engine: xai.Engine, images: Tensor, maps: dict[str, xai.Saliency]) -> None:
    results = engine.evaluate(images, maps["layer-cam"], ["deletion:steps=4", "complexity"])
    ax = results["deletion:steps=4"].plot(label="layer-cam")
    [mean, *lines] = [line.get_ydata() for line in ax.lines]
    np.testing.assert_allclose(lines, results["deletion:steps=4"].curve.numpy(), rtol=1e-6)
    np.testing.assert_allclose(mean, np.mean(lines, 0), rtol=1e-6)
    assert ax.get_legend().get_texts()[0].get_text().startswith("layer-cam: 0.")
    points = results["complexity"].plot().lines[0]
    np.testing.assert_allclose(points.get_ydata(), results["complexity"].values.numpy(), rtol=1e-6)


def test_drawing_changes_no_state_of_matplotlib(maps: dict[str, xai.Saliency]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        maps["layer-cam"].overlay()
        xai.draw(None, maps)
    assert plt.get_fignums() == []


def test_a_tensor_is_loaded_as_its_image_is(engine: xai.Engine) -> None:
    loaded = xai.LoadedModel(engine.model, preprocess)
    image = preprocess(PHOTO.crop((-16, -8, 48, 40)))
    whole = torch.zeros(3, 48, 64)
    whole[:, 8:40, 16:48] = image
    assert torch.equal(xai.load_image(whole, loaded), image[None])
    assert torch.equal(xai.load_image(whole[None], loaded), image[None])
    for wrong in (whole[0], (whole * 255).byte()):
        with pytest.raises(InputShapeError, match=r"\[C,H,W\]"):
            xai.load_image(wrong, loaded)


def test_notebooks_display_figures_that_pyplot_does_not_know(maps: dict[str, xai.Saliency]) -> None:
    figure = xai.draw(None, maps)
    content = figure._repr_png_()  # type: ignore[attr-defined]
    with Image.open(io.BytesIO(content)) as image:
        assert image.format == "PNG"
        assert abs(image.width - 100 * figure.get_figwidth()) < 50
    assert not plt.get_fignums()


def margin(output: Tensor) -> Tensor:
    return output[:, 0] - output[:, 1]


@pytest.mark.parametrize(
    ("target", "name"), [(margin, "margin"), (lambda output: output[:, 0], "function of the output")]
)
def test_captions_name_functions(engine: xai.Engine, images: Tensor, target: Any, name: str) -> None:
    [saliency] = engine.explain(images, "layer-cam", target).values()
    assert saliency.view is not None
    assert isinstance(saliency.target, BoundTarget)
    assert saliency.view.caption(0, saliency.target).startswith(f"{name}\npredicted: ")
