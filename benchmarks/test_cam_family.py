"""Nine one-pass CAMs of resnet50, eight images, and Conceptor-CAM beside its base.

Each contender makes every map that it has a method for, at the images' size, for the predicted classes. Ours makes all
of them from one pass; peers run a pass for each method. Of the nine, pytorch-grad-cam has eight (not CAM) and
torchcam five. Maps are compared in the tests, where the two are right; here only Grad-CAM's are.
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
from race import DEVICE, Race, unit
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
    return "Nine one-pass CAMs, resnet50, 8 images"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return resnet50().eval().to(DEVICE)


@pytest.fixture(scope="module")
def ours(engine: xai.Engine, images: Tensor) -> Tensor:
    return engine.explain(images, "grad-cam")["grad-cam"].values


def check(maps: Tensor, ours: Tensor) -> None:
    torch.testing.assert_close(unit(maps.to(DEVICE)), ours, atol=1e-4 if DEVICE.type == "cpu" else 1e-2, rtol=0)


def test_plain_forward(race: Race, model: nn.Module, images: Tensor) -> None:
    race("plain forward", lambda: model(images), **TIMES)


def test_xai_core(race: Race, engine: xai.Engine, images: Tensor, ours: Tensor) -> None:
    maps = race("xai-core, nine", lambda: engine.explain(images, NINE), **TIMES)
    check(maps["grad-cam"].values, ours)


@pytest.mark.parametrize("method", ["grad-cam", "conceptor-cam"])
def test_conceptor_cam_beside_its_base(race: Race, engine: xai.Engine, images: Tensor, method: str) -> None:
    race(f"xai-core, {method}", lambda: engine.explain(images, method), **TIMES)


def test_pytorch_grad_cam(race: Race, model: nn.Module, images: Tensor, ours: Tensor) -> None:
    def run() -> list[np.ndarray]:
        maps = []
        for method in OF_PYTORCH_GRAD_CAM:
            with method(model=model, target_layers=[model.layer4[-1]]) as cam:
                maps.append(cam(input_tensor=images, targets=None))
        return maps

    maps = race("pytorch-grad-cam, eight", run, rounds=1)
    model.zero_grad()
    check(torch.from_numpy(maps[0]), ours)


def test_torchcam(race: Race, model: nn.Module, images: Tensor, ours: Tensor) -> None:
    def run() -> list[Tensor]:
        maps = []
        for name in OF_TORCHCAM:
            options = {"fc_layer": "fc"} if name == "CAM" else {}
            with getattr(torchcam, name)(model, model.layer4[-1], **options) as cam:
                scores = model(images)
                classes = scores.argmax(1).tolist()
                (made,) = cam(class_idx=classes) if name == "CAM" else cam(class_idx=classes, scores=scores)
                maps.append(F.interpolate(made[:, None], images.shape[-2:], mode="bilinear")[:, 0].detach())
        return maps

    maps = race("torchcam, five", run, rounds=1)
    check(maps[1], ours)
