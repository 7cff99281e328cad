"""Ablation-CAM, resnet18, one image: xai-core runs the head per channel, pytorch-grad-cam the whole network."""

import pytest
import torch
from pytorch_grad_cam import AblationCAM
from timing import DEVICE, Timing, unit
from torch import Tensor, nn
from torchvision.models import resnet18

import xai_core as xai


@pytest.fixture(scope="module")
def group() -> str:
    return "Ablation-CAM, resnet18, 1 image"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return resnet18().eval().to(DEVICE)


@pytest.fixture(scope="module")
def ours(engine: xai.Engine, image: Tensor) -> Tensor:
    return engine.explain(image, "ablation-cam")["ablation-cam"].values


def test_plain_forward(timed: Timing, model: nn.Module, image: Tensor) -> None:
    timed("plain forward pass", lambda: model(image), rounds=10, warm=1)


def test_xai_core(timed: Timing, engine: xai.Engine, image: Tensor, ours: Tensor) -> None:
    maps = timed("xai-core", lambda: engine.explain(image, "ablation-cam"))
    torch.testing.assert_close(maps["ablation-cam"].values, ours, atol=1e-4, rtol=0)


def test_pytorch_grad_cam(timed: Timing, model: nn.Module, image: Tensor, ours: Tensor) -> None:
    with AblationCAM(model=model, target_layers=[model.layer4[-1]]) as cam:
        maps = timed(f"pytorch-grad-cam, batch {cam.batch_size}", lambda: cam(input_tensor=image, targets=None))
    both = torch.stack([unit(torch.from_numpy(maps).to(DEVICE)).flatten(), ours.flatten()])
    assert both.corrcoef()[0, 1] > 0.99
