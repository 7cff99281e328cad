"""Grad-CAM, resnet50, eight images: maps at the size of the images for the predicted classes."""

import pytest
import torch
import torch.nn.functional as F
from captum.attr import LayerAttribution, LayerGradCam
from pytorch_grad_cam import GradCAM
from timing import DEVICE, Timing, unit
from torch import Tensor, nn
from torchcam.methods import GradCAM as TorchcamGradCAM
from torchvision.models import resnet50

import xai_core as xai

TIMES = {"rounds": 3, "warm": 1}


@pytest.fixture(scope="module")
def group() -> str:
    return "Grad-CAM, resnet50, 8 images"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return resnet50().eval().to(DEVICE)


@pytest.fixture(scope="module")
def ours(engine: xai.Engine, images: Tensor) -> xai.Saliency:
    return engine.explain(images, "grad-cam")["grad-cam"]


def check(maps: Tensor, ours: xai.Saliency) -> None:
    torch.testing.assert_close(unit(maps.to(DEVICE)), ours.values, atol=1e-4 if DEVICE.type == "cpu" else 1e-2, rtol=0)


def test_plain_forward(timed: Timing, model: nn.Module, images: Tensor) -> None:
    timed("plain forward pass", lambda: model(images), **TIMES)


def test_forward_without_graph(timed: Timing, model: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        timed("forward pass under no_grad", lambda: model(images), **TIMES)


def test_xai_core(timed: Timing, engine: xai.Engine, images: Tensor, ours: xai.Saliency) -> None:
    maps = timed("xai-core", lambda: engine.explain(images, "grad-cam")["grad-cam"].values, **TIMES)
    check(maps, ours)


def test_pytorch_grad_cam(timed: Timing, model: nn.Module, images: Tensor, ours: xai.Saliency) -> None:
    with GradCAM(model=model, target_layers=[model.layer4[-1]]) as cam:
        maps = timed("pytorch-grad-cam", lambda: cam(input_tensor=images, targets=None), **TIMES)
    model.zero_grad()  # the library leaves gradients in all parameters
    check(torch.from_numpy(maps), ours)


def test_torchcam(timed: Timing, model: nn.Module, images: Tensor, ours: xai.Saliency) -> None:
    def run() -> Tensor:
        scores = model(images)
        (maps,) = cam(class_idx=scores.argmax(1).tolist(), scores=scores)
        return F.interpolate(maps[:, None], images.shape[-2:], mode="bilinear")[:, 0]

    with TorchcamGradCAM(model, model.layer4[-1]) as cam:
        maps = timed("torchcam", run, **TIMES)
    check(maps, ours)


def test_captum(timed: Timing, model: nn.Module, images: Tensor, ours: xai.Saliency) -> None:
    """Captum requires the class. The forward pass that predicts it is not timed."""
    with torch.no_grad():
        classes = model(images).argmax(1)
    cam = LayerGradCam(model, model.layer4[-1])

    def run() -> Tensor:
        maps = cam.attribute(images, target=classes, relu_attributions=True)
        return LayerAttribution.interpolate(maps, images.shape[-2:], "bilinear")[:, 0]

    check(timed("captum", run, **TIMES).detach(), ours)
