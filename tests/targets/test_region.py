"""Explaining regions of segmentation models: the default layer, the answer known by construction, bad regions."""

from collections.abc import Callable

import pytest
import segmentation_models_pytorch as smp
import torch
import torchvision.models.segmentation as tv
from torch import Tensor, nn
from torchvision.models import ResNet
from torchvision.models._utils import IntermediateLayerGetter
from torchvision.models.resnet import Bottleneck
from torchvision.models.segmentation.fcn import FCNHead

import xai_core as xai
from support.models import settled
from xai_core.errors import TargetError
from xai_core.outputs import scores_of

BARE = {"weights": None, "weights_backbone": None, "num_classes": 4}


def fcn() -> nn.Module:
    """torchvision's `fcn_resnet50` with one block in each stage."""
    backbone = ResNet(Bottleneck, [1, 1, 1, 1], replace_stride_with_dilation=[False, True, True])
    return tv.fcn.FCN(IntermediateLayerGetter(backbone, {"layer4": "out"}), FCNHead(2048, 4))


# model, and the layer of its deepest features
MODELS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "deeplabv3": (lambda: tv.deeplabv3_mobilenet_v3_large(**BARE, aux_loss=True), "classifier.3"),
    "fcn": (fcn, "classifier.3"),
    "lraspp": (lambda: tv.lraspp_mobilenet_v3_large(**BARE), "backbone.4"),
    "unet": (lambda: smp.Unet("resnet18", encoder_weights=None, classes=4), "decoder.blocks.3"),
    "pyramid of pools": (lambda: smp.PSPNet("resnet18", encoder_weights=None, classes=4), "decoder"),
}


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")  # the weights are random
@pytest.mark.parametrize("name", MODELS)
def test_segmentation_models_are_explained_at_features_on_every_path(name: str) -> None:
    make, layer = MODELS[name]
    size = 32 if name == "fcn" else 64  # its features are 512 maps of a ResNet50 that keeps its resolution
    images = torch.randn(1, 3, size, size)
    engine = xai.Engine(settled(make()))
    assert engine.adapter(images).default_layer == layer
    everywhere = xai.Region(1, torch.ones(size, size))
    assert engine.adapter(images, lambda output: scores_of(output)[:, 1].mean((1, 2))).default_layer == layer
    many = name in ("fcn", "unet")  # 512 feature maps, each of which Score-CAM scores
    maps = engine.explain(images, ["grad-cam", "layer-cam", *([] if many else ["score-cam"])], everywhere)
    assert all(saliency.values.shape == (1, size, size) for saliency in maps.values())
    assert not maps["layer-cam"].constant.any()


def test_a_function_of_other_pixel_scores_is_explained_at_the_features_below_them() -> None:
    engine = xai.Engine(settled(MODELS["deeplabv3"][0]()))
    adapter = engine.adapter(torch.randn(1, 3, 64, 64), lambda output: output["aux"][:, 1].mean((1, 2)))
    assert adapter.default_layer == "aux_classifier.3"


class Taps(nn.Module):
    """A plain transformer for segmentation, as far as its layers go: a decoder reads every block on a finer grid."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 6, 4, 4)
        self.blocks = nn.ModuleList(nn.Conv2d(6, 6, 3, 1, 1) for _ in range(4))
        self.decoder = nn.Conv2d(24, 5, 1)
        self.classes = nn.Conv2d(5, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, taps = self.patches(x), []
        for block in self.blocks:
            x = block(x).relu()
            taps.append(nn.functional.interpolate(x, scale_factor=2.0))
        return self.classes(self.decoder(torch.cat(taps, 1)))


def test_features_before_the_decoder_reads_several_blocks_are_not_the_default() -> None:
    assert xai.Engine(Taps()).adapter(corners()).default_layer == "decoder"


def test_large_images_of_a_segmentation_model() -> None:
    images = torch.randn(1, 3, 416, 416)
    engine = xai.Engine(settled(MODELS["lraspp"][0]()))
    saliency = engine.explain(images, "grad-cam", xai.Region(2, torch.ones(416, 416)))["grad-cam"]
    assert engine.adapter(images).grid == (52, 52)
    assert saliency.values.shape == (1, 416, 416)


class Corners(nn.Module):
    """Three classes, each shown by one channel of the image and of the features; its logits are upsampled."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 6, 4, 4, bias=False)
        self.act = nn.ReLU()
        self.classes = nn.Conv2d(6, 3, 1, bias=False)
        with torch.no_grad():
            self.features.weight.zero_()
            self.classes.weight.zero_()
            for channel in range(3):
                self.features.weight[channel, channel] = 1 / 16
                self.classes.weight[channel, channel] = 1

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        logits = self.classes(self.act(self.features(x)))
        return {"out": nn.functional.interpolate(logits, scale_factor=4.0), "aux": logits}


def corners() -> Tensor:
    """Class 0 in the upper left, 1 in the upper right, 2 in the lower half."""
    images = torch.zeros(2, 3, 16, 16)
    images[:, 0, :8, :8] = images[:, 1, :8, 8:] = images[:, 2, 8:] = 1
    return images


@pytest.mark.parametrize("method", ["grad-cam", "score-cam", "hires-cam", "layer-cam"])
@pytest.mark.parametrize("category", range(3))
def test_the_map_of_a_region_lies_where_its_class_is(method: str, category: int) -> None:
    engine, images = xai.Engine(Corners()), corners()
    assert engine.adapter(images).default_layer == "act"
    raw = engine.explain(images, method, xai.Region(category))[method].raw
    there = images[:, category, ::4, ::4] > 0
    assert (raw[there] > 1e-3).all()
    assert raw[~there].abs().max() < 1e-6 if method != "score-cam" else raw[~there].max() < raw[there].min()


def test_a_mask_chooses_where_the_class_is_asked_for() -> None:
    images, mask = corners(), torch.zeros(2, 16, 16)
    mask[0, 8:, :4] = mask[1, 8:, 12:] = 1
    raw = xai.Engine(Corners()).explain(images, "layer-cam", xai.Region(2, mask))["layer-cam"].raw
    assert torch.equal(raw > 0, mask[:, ::4, ::4] > 0)


def test_one_class_for_each_image() -> None:
    images, engine = corners(), xai.Engine(Corners())
    both = engine.explain(images, "grad-cam", xai.Region([0, 2]))["grad-cam"].raw
    for i, category in enumerate((0, 2)):
        single = engine.explain(images[i : i + 1], "grad-cam", xai.Region(category))["grad-cam"].raw
        torch.testing.assert_close(both[i : i + 1], single)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        (xai.Region(0, torch.ones(4, 4)), r"output's size, \[16, 16\] or \[2, 16, 16\]; got \[4, 4\]"),
        (xai.Region(0, torch.ones(3, 16, 16)), r"got \[3, 16, 16\]"),
        (xai.Region(0, torch.zeros(16, 16)), "the mask contains no pixel"),
        (xai.Region(torch.tensor([0, 7])), r"not a class of this model \(0 to 2\)"),
        (xai.Region(3), "not a class of this model: expected 0 to 2"),
        (xai.Region([0, 1, 2]), "for each of 2 images"),
    ],
)
def test_bad_regions(region: xai.Region, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        xai.Engine(Corners()).explain(corners(), "grad-cam", region)


def test_a_class_that_is_nowhere_predicted_has_no_region() -> None:
    images = corners()
    images[1, 1] = 0
    with pytest.raises(TargetError, match=r"images \[1\] are regions without pixels"):
        xai.Engine(Corners()).explain(images, "grad-cam", xai.Region(1))


def test_a_classifier_has_no_regions() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(TargetError, match="needs a segmentation model"):
        xai.Engine(model).explain(corners(), "grad-cam", xai.Region(1))
