"""Grad-CAM against pytorch-grad-cam and captum, at the layer that the adapter finds."""

from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
import torchvision.models as tv
from captum.attr import LayerAttribution, LayerGradCam
from pytorch_grad_cam import GradCAM
from torch import Tensor, nn
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.resnet import Bottleneck
from torchvision.models.vgg import make_layers

import xai_core as xai
from support.models import with_small_classifier

CNNS: dict[str, Callable[[], nn.Module]] = {
    "resnet18": tv.resnet18,
    "resnet of bottlenecks": lambda: tv.ResNet(Bottleneck, [1, 1, 1, 1]),
    "vgg": lambda: with_small_classifier(lambda: tv.VGG(make_layers([16, "M", 32, "M", 32, "M", 64, "M"])), 64 * 7 * 7),
    "densenet": lambda: tv.DenseNet(8, (2, 2, 2, 2), 16),
    "mobilenet_v3_large": tv.mobilenet_v3_large,
    "efficientnet_b0": tv.efficientnet_b0,
    "convnext": lambda: tv.ConvNeXt([CNBlockConfig(24, 48, 2), CNBlockConfig(48, None, 2)]),
}
SMALL = {"img_size": 128, "depth": 3}
TOKENS: dict[str, Callable[[], nn.Module]] = {
    "timm vit_tiny": lambda: timm.create_model("vit_tiny_patch16_224", **SMALL),
    "timm deit_tiny_distilled": lambda: timm.create_model("deit_tiny_distilled_patch16_224", **SMALL),
    "torchvision swin": lambda: tv.SwinTransformer([4, 4], 24, [2, 2], [3, 6], [7, 7]),
}


class Scaled(nn.Module):
    """Scores scaled so that the map's maximum is about one.

    pytorch-grad-cam divides by max + 1e-7, which moves the maps of a random net, whose gradients are small.
    """

    def __init__(self, model: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.model, self.scale = model, 1.0
        self.scale = 1 / xai.Engine(self).explain(images, "grad-cam")["grad-cam"].raw.amax().item()

    def forward(self, images: Tensor) -> Tensor:
        return self.scale * self.model(images)


@pytest.fixture
def photos() -> Tensor:
    return torch.randn(2, 3, 128, 128)


def engine_and_layer(model: nn.Module, images: Tensor) -> tuple[xai.Engine, str]:
    engine = xai.Engine(model)
    return engine, engine.adapter(images).default_layer


def by_pytorch_grad_cam(
    model: nn.Module, layer: str, images: Tensor, reshape: Callable[[Tensor], Tensor] | None
) -> Tensor:
    with GradCAM(model, [model.get_submodule(layer)], reshape_transform=reshape) as cam:
        return torch.from_numpy(np.asarray(cam(images, targets=None)))


def by_captum(model: nn.Module, layer: str, images: Tensor) -> Tensor:
    target = model(images).argmax(1)
    maps = LayerGradCam(model, model.get_submodule(layer)).attribute(images, target, relu_attributions=True)
    maps = LayerAttribution.interpolate(maps, images.shape[2:], "bilinear")[:, 0].detach()
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)


@pytest.mark.parametrize("name", CNNS)
def test_equals_pytorch_grad_cam_and_captum(name: str, photos: Tensor) -> None:
    model = Scaled(CNNS[name]().eval(), photos)
    engine, layer = engine_and_layer(model, photos)
    ours = engine.explain(photos, "grad-cam")["grad-cam"].values
    torch.testing.assert_close(ours, by_captum(model, layer, photos), atol=1e-5, rtol=0)
    torch.testing.assert_close(ours, by_pytorch_grad_cam(model, layer, photos, Tensor.clone), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", TOKENS)
def test_equals_pytorch_grad_cam_on_tokens(name: str, photos: Tensor) -> None:
    model = Scaled(TOKENS[name]().eval(), photos)
    engine, layer = engine_and_layer(model, photos)
    features = engine.adapter(photos).features(layer)

    def reshape(tokens: Tensor) -> Tensor:
        if tokens.ndim == 4:
            return tokens if features.layout == "NCHW" else tokens.permute(0, 3, 1, 2)
        return tokens[:, features.elements].transpose(1, 2).reshape(len(tokens), -1, *features.grid)

    ours = engine.explain(photos, "grad-cam")["grad-cam"].values
    torch.testing.assert_close(ours, by_pytorch_grad_cam(model, layer, photos, reshape), atol=1e-5, rtol=0)


def test_an_in_place_activation_after_the_layer_does_not_change_the_map(photos: Tensor) -> None:
    """DenseNet applies ReLU in place to the features: pytorch-grad-cam multiplies by what it left of them."""
    model = Scaled(CNNS["densenet"]().eval(), photos)
    engine, layer = engine_and_layer(model, photos)
    ours = engine.explain(photos, "grad-cam")["grad-cam"].values
    theirs = by_pytorch_grad_cam(model, layer, photos, None)
    assert (ours - theirs).abs().max() > 0.01
    torch.testing.assert_close(ours, by_pytorch_grad_cam(model, layer, photos, Tensor.clone), atol=1e-5, rtol=0)
