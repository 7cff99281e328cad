"""Common mistakes of users work, or raise one error that states what was expected and what to do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from xai_cam.grad_cam import GradCAM
from xai_core import errors
from xai_core.benchmarking.protocols import find_protocol
from xai_core.benchmarking.settings import read_settings
from xai_faithfulness.deletion import Deletion

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def engine() -> xai.Engine:
    torch.manual_seed(0)
    return xai.Engine(settled(SmallCNN()))


@pytest.fixture(scope="module")
def maps(engine: xai.Engine) -> dict[str, xai.Saliency]:
    return engine.explain(IMAGES, ["saliency", "center"])


IMAGE_MISTAKES: dict[str, tuple[Any, type[errors.XAIError], str]] = {
    "an array": (IMAGES.numpy(), errors.InputTypeError, "torch.from_numpy"),
    "a list of tensors": (list(IMAGES), errors.InputTypeError, "torch.stack(images)"),
    "a list of PIL images": ([Image.new("RGB", (32, 32))], errors.InputTypeError, "preprocess each image"),
    "a PIL image": (Image.new("RGB", (32, 32)), errors.InputTypeError, "preprocess(image)[None]"),
    "a path": (Path("photo.jpg"), errors.InputTypeError, "open_image"),
    "a name of a file": ("photo.jpg", errors.InputTypeError, "open_image"),
    "None": (None, errors.InputTypeError, "got NoneType"),
    "8-bit images": ((IMAGES * 255).byte(), errors.InputTypeError, "divide 8-bit values by 255"),
    "one image": (IMAGES[0], errors.InputShapeError, "`images[None]`"),
    "one image, channels last": (IMAGES[0].permute(1, 2, 0), errors.InputShapeError, "permute(2, 0, 1)[None]"),
    "one gray image": (IMAGES[0, 0], errors.InputShapeError, "`images[None, None]`"),
    "gray images": (IMAGES[0].repeat(2, 1, 1), errors.InputShapeError, "gray images [B, H, W], `images[:, None]`"),
    "a batch too many": (IMAGES[None], errors.InputShapeError, "remove an additional dimension with `images[0]`"),
    "clips": (
        IMAGES[:, :, None].repeat(1, 1, 4, 1, 1),
        errors.InputShapeError,
        "[1, 3, 4, 32, 32]; remove an additional dimension with `images[0]`, or pass frames or slices as images",
    ),
    "text": (
        torch.ones(2, 7, dtype=torch.int64),
        errors.InputTypeError,
        "[2, 7]; token ids cannot be explained",
    ),
    "a list of texts": (["a cat"], errors.InputTypeError, "pass other inputs of the model through `forward=`"),
    "several inputs": ([IMAGES, IMAGES], errors.InputTypeError, "pass other inputs of the model through `forward=`"),
    "a dict of inputs": ({"pixel_values": IMAGES}, errors.InputTypeError, "such as `inputs['pixel_values']`"),
    "channels last": (IMAGES.permute(0, 2, 3, 1), errors.InputShapeError, "permute(0, 3, 1, 2)"),
    "another number of channels": (IMAGES[:, :2], errors.InputShapeError, "requires 3 channels, but the images have 2"),
    "no image": (IMAGES[:0], errors.EmptyBatchError, "at least one image"),
    "images without values": (IMAGES.to("meta"), errors.InputTypeError, "the images are on the meta device"),
}


@pytest.mark.parametrize("name", IMAGE_MISTAKES)
def test_wrong_images_are_rejected_with_the_correction(engine: xai.Engine, name: str) -> None:
    images, error, message = IMAGE_MISTAKES[name]
    for act in (
        lambda: engine.explain(images, "grad-cam"),
        lambda: engine.attention(images),
        lambda: engine.evaluate(images, {"mine": IMAGES[:, 0]}, "deletion"),
    ):
        with pytest.raises(error) as raised:
            act()
        assert message in str(raised.value)


def test_models_without_values_are_rejected(tmp_path: Path) -> None:
    partly = SmallCNN()
    partly.head.to("meta")
    for model, name in ((SmallCNN().to("meta"), "stem.0.weight"), (partly, "head.weight")):
        with pytest.raises(
            errors.InputTypeError, match=f"the model is on the meta device: '{name}' has no values; call"
        ):
            xai.Engine(model)
        options = {"methods": "grad-cam", "metrics": "deletion", "device": "cpu", "in_process": True}
        loaded = xai.LoadedModel(model, lambda image: image)
        with pytest.raises(errors.InputTypeError, match="the model is on the meta device"):
            xai.benchmark(loaded, "photos", out=tmp_path / "run", **options)


@pytest.mark.parametrize("transform", [torch.func.vmap, torch.func.grad, torch.func.functionalize])
def test_the_engine_cannot_be_called_inside_a_transform(engine: xai.Engine, transform: Callable[..., Any]) -> None:
    saliency = engine.explain(IMAGES, "saliency")["saliency"]
    acts: list[Callable[[Tensor], Tensor]] = [
        lambda images: engine.explain(images, "saliency")["saliency"].values.sum(),
        lambda images: engine.evaluate(images, saliency, "deletion")["deletion"].values.sum(),
        lambda images: engine.attention(images)[0].weights.sum(),
    ]
    for act in acts:
        with pytest.raises(errors.InputTypeError, match=r"cannot be called inside `torch\.func\.vmap`.*as one batch"):
            transform(act)(IMAGES[None])


METHOD_MISTAKES: dict[str, tuple[Any, type[errors.XAIError], str]] = {
    "a class id": (3, errors.InputTypeError, "got 3: to explain a class, pass its id as `target=3`"),
    "class ids": (torch.tensor([1, 2]), errors.InputTypeError, "as `target=...`"),
    "a class id in a list": ([3], errors.InputTypeError, "`target=3`"),
    "None": (None, errors.InputTypeError, "`list_explainers()` returns the names"),
    "a class": (GradCAM, errors.InputTypeError, "pass an object of the class, `GradCAM()`, or its name 'grad-cam'"),
    "a class in a list": ([GradCAM], errors.InputTypeError, "`GradCAM()`"),
    "a metric": (Deletion(), errors.InputTypeError, "pass a metric to `Engine.evaluate`"),
    "the name of a metric": ("deletion", errors.UnknownExplainerError, "'deletion' is the name of a metric"),
    "an empty list": ([], errors.OptionError, "methods is empty; expected at least one"),
    "a class's name": ("GradCAM", errors.UnknownExplainerError, "did you mean 'grad-cam'?"),
    "an underscore": ("grad_cam", errors.UnknownExplainerError, "did you mean 'grad-cam'?"),
    "the paper's name": ("Grad-CAM", errors.UnknownExplainerError, "did you mean 'grad-cam'?"),
    "a misspelled option": (
        "grad-cam:layr=layer3", errors.UnknownOptionError, "no option 'layr' (it takes layer); did you mean 'layer'?",
    ),
    "an option without a name": ("grad-cam:last", errors.SpecError, "'last' in 'grad-cam:last' is not an option"),
    "an unknown layer": (
        "grad-cam:layer=lasst",
        errors.LayerError,
        "no layer 'lasst'; layers with spatial output include 'last', 'last.3', 'last.2'; the default layer is 'last'",
    ),
    "a nested misspelling": ("smoothed(GradCAM)", errors.UnknownExplainerError, "did you mean 'grad-cam'?"),
}  # fmt: skip


@pytest.mark.parametrize("name", METHOD_MISTAKES)
def test_wrong_methods_are_rejected_with_the_correction(engine: xai.Engine, name: str) -> None:
    methods, error, message = METHOD_MISTAKES[name]
    with pytest.raises(error) as raised:
        engine.explain(IMAGES, methods)
    assert message in str(raised.value)


def test_several_methods_in_one_string_or_with_names_of_their_own(engine: xai.Engine) -> None:
    both = engine.explain(IMAGES, "saliency:channels=sum, center,sigma=0.5")
    assert list(both) == ["saliency:channels=sum", "center:sigma=0.5"]
    named = engine.explain(
        IMAGES, {"mine": xai.create_explainer("saliency", channels="sum"), "yours": "center:sigma=0.5"}
    )
    assert list(named) == ["mine", "yours"]
    for one, other in zip(both.values(), named.values(), strict=True):
        assert torch.equal(one.values, other.values)
    with pytest.raises(errors.InputTypeError, match="expected a name, a spec, an object of class Explainer"):
        engine.explain(IMAGES, {"mine": 3})  # type: ignore[dict-item]


def test_one_map_is_scored_without_a_name(engine: xai.Engine, maps: dict[str, xai.Saliency]) -> None:
    named = engine.evaluate(IMAGES, maps, ["deletion:steps=3", "complexity"])
    alone = engine.evaluate(IMAGES, maps["saliency"], ["deletion:steps=3", "complexity"])
    assert list(alone) == ["deletion:steps=3", "complexity"]
    for name, result in alone.items():
        assert torch.equal(result.values, named["saliency"][name].values)


def test_a_tensor_alone_is_scored_for_the_predicted_class(engine: xai.Engine) -> None:
    relevance = torch.rand(2, 8, 8)
    alone = engine.evaluate(IMAGES, relevance, "deletion:steps=3")["deletion:steps=3"]
    named = engine.evaluate(IMAGES, {"mine": relevance}, "deletion:steps=3")["mine"]["deletion:steps=3"]
    assert torch.equal(alone.values, named.values)


MAP_MISTAKES: dict[str, tuple[Any, type[errors.XAIError], str]] = {
    "a list": ([IMAGES[:, 0]], errors.InputTypeError, "maps must be the result of `explain`"),
    "an array": (IMAGES[:, 0].numpy(), errors.InputTypeError, "got ndarray"),
    "the metric": ("deletion", errors.InputTypeError, "the order is `evaluate(images, maps, metrics)`"),
    "None": (None, errors.InputTypeError, "got NoneType"),
    "integers": ((IMAGES[:, 0] * 9).long(), errors.InputTypeError, "got torch.int64 [2, 32, 32]: use `.float()`"),
    "a channel": (IMAGES[:, :1], errors.InputShapeError, "got torch.float32 [2, 1, 32, 32]: use `[:, 0]`"),
    "fewer maps": (IMAGES[:1, 0], errors.InputShapeError, "with B=2; got torch.float32 [1, 32, 32]"),
    "no tensor in a dict": ({"mine": None}, errors.InputTypeError, "map 'mine' must be a Saliency or a tensor"),
    "not finite": (IMAGES[:, 0] / 0, errors.NonFiniteMapError, "the map contains NaN or infinity for images"),
}


@pytest.mark.parametrize("name", MAP_MISTAKES)
def test_wrong_maps_are_rejected_with_the_correction(engine: xai.Engine, name: str) -> None:
    maps, error, message = MAP_MISTAKES[name]
    with pytest.raises(error) as raised:
        engine.evaluate(IMAGES, maps, "deletion:steps=3")
    assert message in str(raised.value)


@pytest.mark.parametrize(
    ("metrics", "error", "message"),
    [
        (3, errors.InputTypeError, "metrics: expected a name, a spec, an object of class Metric"),
        (None, errors.InputTypeError, "`list_metrics()` returns the names"),
        (Deletion, errors.InputTypeError, "pass an object of the class, `Deletion()`, or its name 'deletion'"),
        (GradCAM(), errors.InputTypeError, "pass a method to `Engine.explain`"),
        ([], errors.OptionError, "metrics is empty"),
        ("Deletion-", errors.UnknownMetricError, "did you mean 'deletion'?"),
        ("grad-cam", errors.UnknownMetricError, "'grad-cam' is the name of a method"),
        (
            "deletion:step=3",
            errors.UnknownOptionError,
            "no option 'step' (it takes steps, baseline, score, ties, seed); did you mean 'steps'?",
        ),
    ],
)
def test_wrong_metrics_are_rejected_with_the_correction(
    engine: xai.Engine, maps: dict[str, xai.Saliency], metrics: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as raised:
        engine.evaluate(IMAGES, maps, metrics)
    assert message in str(raised.value)


class Unable(nn.Module):
    """A model whose class is passed instead of an object."""


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("timm:resnet18", "use `Engine(load_model('timm:resnet18'))`"),
        (Unable, "pass an object of the class Unable"),
        (None, "expected a torch.nn.Module or a LoadedModel, got NoneType"),
    ],
)
def test_a_wrong_model_is_rejected_with_the_correction(model: Any, message: str) -> None:
    with pytest.raises(errors.InputTypeError) as raised:
        xai.Engine(model)
    assert message in str(raised.value)


@pytest.mark.parametrize("target", [xai.Contrast, "cat", 1.5, True, {1}])
def test_a_wrong_target_is_rejected(engine: xai.Engine, target: Any) -> None:
    with pytest.raises(
        errors.TargetError, match=r"pass an object|a target must be None, a class id|pass a class id instead of 'cat'"
    ):
        engine.explain(IMAGES, "grad-cam", target)


NAME_MISTAKES: dict[str, tuple[Callable[[], Any], type[errors.XAIError], str]] = {
    "a model without its source": (
        lambda: xai.load_model("resnet50"),
        errors.UnknownModelError,
        "no installed plugin provides model 'resnet50'; did you mean 'timm:resnet50' or 'torchvision:resnet50'?",
    ),
    "the same with an option": (
        lambda: xai.load_model("ResNet50,weights=none"), errors.UnknownModelError, "'torchvision:resnet50'?",
    ),
    "a misspelled source": (lambda: xai.load_model("tim:resnet18"), errors.UnknownModelError, "did you mean 'timm'?"),
    "a dataset as a model": (lambda: xai.load_model("photos"), errors.UnknownModelError, "the name of a dataset"),
    "a misspelled option of timm": (
        lambda: xai.load_model("timm:resnet18,num_clases=3,pretrained=false"),
        errors.UnknownOptionError, "timm:resnet18 has no option 'num_clases'; did you mean 'num_classes'?",
    ),
    "a misspelled option of torchvision": (
        lambda: xai.load_model("torchvision:resnet18,num_clases=3,weights=none"),
        errors.UnknownOptionError, "torchvision:resnet18 has no option 'num_clases'; did you mean 'num_classes'?",
    ),
    "a misspelled option of another source": (
        lambda: xai.load_model("shapes-vit:wieghts=none"), errors.UnknownOptionError, "did you mean 'weights'?",
    ),
    "a misspelled dataset": (lambda: xai.load_dataset("Shapes_"), errors.UnknownDatasetError, "did you mean 'shapes'?"),
    "a misspelled option of a dataset": (
        lambda: xai.load_dataset("shapes:splt=test"), errors.UnknownOptionError, "did you mean 'split'?",
    ),
    "a misspelled protocol": (lambda: find_protocol("Score_CAM"), errors.OptionError, "did you mean 'score-cam'?"),
}  # fmt: skip


@pytest.mark.parametrize("name", NAME_MISTAKES)
def test_misspelled_names_are_suggested(name: str) -> None:
    act, error, message = NAME_MISTAKES[name]
    with pytest.raises(error) as raised:
        act()
    assert message in str(raised.value)


def test_a_misspelled_setting_in_a_file_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("metrcs = ['deletion']")
    with pytest.raises(errors.UnknownOptionError, match="'metrcs'; did you mean 'metrics'"):
        read_settings(tmp_path / "run.toml")


def test_an_unknown_layer_of_a_transformer_is_suggested() -> None:
    with pytest.raises(
        errors.LayerError, match=r"no layer 'block\.1'; .*'blocks\.1'.*; the default layer is 'blocks\."
    ):
        xai.Engine(settled(fused_vit())).explain(IMAGES, "grad-cam:layer=block.1")


def test_an_unknown_option_is_an_option_error_and_a_type_error() -> None:
    assert issubclass(errors.UnknownOptionError, errors.OptionError)
    assert issubclass(errors.UnknownOptionError, TypeError)
    assert issubclass(errors.OptionError, ValueError)


class NoNumbers(xai.Metric):
    name = "no-numbers"
    higher_is_better = True

    def __init__(self, result: Any) -> None:
        self.result = result

    def evaluate(self, evaluation: Any, saliency: xai.Saliency) -> Any:
        return self.result


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (torch.zeros(2), errors.PluginContractError),
        (xai.MetricResult(torch.zeros(1)), errors.PluginContractError),
        (xai.MetricResult(torch.full((2,), torch.nan)), errors.NonFiniteResultError),
    ],
)
def test_what_a_metric_returns_wrongly(
    engine: xai.Engine, maps: dict[str, xai.Saliency], result: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match="no-numbers"):
        engine.evaluate(IMAGES, maps["center"], NoNumbers(result))


def test_masks_of_another_type_and_of_another_shape(engine: xai.Engine, maps: dict[str, xai.Saliency]) -> None:
    masks: Tensor = IMAGES[:, 0]
    with pytest.raises(errors.InputTypeError, match="use `masks > 0`"):
        engine.evaluate(IMAGES, maps, "iou", masks)
    with pytest.raises(errors.InputShapeError, match=r"masks must be bool \[2, 32, 32\]"):
        engine.evaluate(IMAGES, maps, "iou", masks[:1] > 0)
