"""Nine single-pass CAMs of resnet50, eight images, and Conceptor-CAM compared with Grad-CAM.

Each library computes all of these maps that it supports, at the size of the images, for the predicted classes. xai-core
shares one pass between all methods. Other libraries run one pass per method. pytorch-grad-cam supports eight of the
nine methods (not CAM), and torchcam five. Only the maps of Grad-CAM are compared here. The tests compare the others.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytorch_grad_cam import (
    EigenCAM,
    EigenGradCAM,
    GradCAM,
    GradCAMElementWise,
    GradCAMPlusPlus,
    HiResCAM,
    LayerCAM,
    XGradCAM,
)
from timing import DEVICE, Timing, unit
from torch import Tensor, nn
from torchcam import methods as torchcam
from torchvision.models import resnet50

import xai_core as xai

NINE = [
    "cam", "grad-cam", "grad-cam++", "xgrad-cam", "hires-cam", "layer-cam", "element-wise-cam", "eigen-cam",
    "eigen-grad-cam",
]  # fmt: skip
OF_PYTORCH_GRAD_CAM = [
    GradCAM, GradCAMPlusPlus, XGradCAM, HiResCAM, LayerCAM, GradCAMElementWise, EigenCAM, EigenGradCAM,
]  # fmt: skip
OF_TORCHCAM = ["CAM", "GradCAM", "GradCAMpp", "XGradCAM", "LayerCAM"]
TIMES = {"rounds": 3, "warm": 1}


@pytest.fixture(scope="module")
def group() -> str:
    return "Nine single-pass CAMs, resnet50, 8 images"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return resnet50().eval().to(DEVICE)


@pytest.fixture(scope="module")
def ours(engine: xai.Engine, images: Tensor) -> Tensor:
    return engine.explain(images, "grad-cam")["grad-cam"].values


def check(maps: Tensor, ours: Tensor) -> None:
    torch.testing.assert_close(unit(maps.to(DEVICE)), ours, atol=1e-4 if DEVICE.type == "cpu" else 1e-2, rtol=0)


def test_plain_forward(timed: Timing, model: nn.Module, images: Tensor) -> None:
    timed("plain forward pass", lambda: model(images), **TIMES)


def test_xai_core(timed: Timing, engine: xai.Engine, images: Tensor, ours: Tensor) -> None:
    maps = timed("xai-core, nine", lambda: engine.explain(images, NINE), **TIMES)
    check(maps["grad-cam"].values, ours)


@pytest.mark.parametrize("method", ["grad-cam", "conceptor-cam"])
def test_conceptor_cam_and_its_base(timed: Timing, engine: xai.Engine, images: Tensor, method: str) -> None:
    timed(f"xai-core, {method}", lambda: engine.explain(images, method), **TIMES)


def test_pytorch_grad_cam(timed: Timing, model: nn.Module, images: Tensor, ours: Tensor) -> None:
    def run() -> list[np.ndarray]:
        maps = []
        for method in OF_PYTORCH_GRAD_CAM:
            with method(model=model, target_layers=[model.layer4[-1]]) as cam:
                maps.append(cam(input_tensor=images, targets=None))
        return maps

    maps = timed("pytorch-grad-cam, eight", run, rounds=1)
    model.zero_grad()
    check(torch.from_numpy(maps[0]), ours)


def test_torchcam(timed: Timing, model: nn.Module, images: Tensor, ours: Tensor) -> None:
    def run() -> list[Tensor]:
        maps = []
        for name in OF_TORCHCAM:
            options = {"fc_layer": "fc"} if name == "CAM" else {}
            with getattr(torchcam, name)(model, model.layer4[-1], **options) as cam:
                scores = model(images)
                classes = scores.argmax(1).tolist()
                (cams,) = cam(class_idx=classes) if name == "CAM" else cam(class_idx=classes, scores=scores)
                maps.append(F.interpolate(cams[:, None], images.shape[-2:], mode="bilinear")[:, 0].detach())
        return maps

    maps = timed("torchcam, five", run, rounds=1)
    check(maps[1], ours)
