"""Score-CAM, resnet18, one image.

Other libraries weight channels by a softmax of logits, so xai-core uses the same options. Two differences remain, which
do not affect the cost: pytorch-grad-cam upsamples masks with aligned corners, and torchcam normalizes masks before
upsampling. The other libraries run with their default batch size (16 and 32) and with the fastest on this machine.
"""

import time
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from pytorch_grad_cam import ScoreCAM
from timing import DEVICE, Timing, finish, unit
from torch import Tensor, nn
from torchcam.methods import ScoreCAM as TorchcamScoreCAM
from torchvision.models import resnet18

import xai_core as xai

METHOD = xai.create_explainer("score-cam", score="logit", channel_softmax=True)
BATCHES = (4, 8, 16, 32, 64) if DEVICE.type == "cpu" else (16, 32, 64, 128, 256, 512)


@pytest.fixture(scope="module")
def group() -> str:
    return "Score-CAM, resnet18, 1 image"


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return resnet18().eval().to(DEVICE)


@pytest.fixture(scope="module")
def ours(engine: xai.Engine, image: Tensor) -> xai.Saliency:
    return engine.explain(image, METHOD)["score-cam"]


@pytest.fixture(scope="module")
def fastest(model: nn.Module, image: Tensor) -> int:
    """Return the batch size with the fastest forward pass per image on this machine."""
    times = dict.fromkeys(BATCHES, float("inf"))
    with torch.no_grad():
        for size in BATCHES * 3:
            batch = image.expand(size, -1, -1, -1).contiguous()
            start = time.perf_counter()
            finish(lambda batch=batch: model(batch))
            times[size] = min(times[size], (time.perf_counter() - start) / size)
    return min(times, key=times.__getitem__)


@pytest.fixture(params=["default", "fastest"])
def batch(request: pytest.FixtureRequest, fastest: int) -> Callable[[int], int]:
    """Return a function from the default batch size of a library to the batch size to use."""

    def choose(default: int) -> int:
        if request.param == "fastest" and fastest == default:
            pytest.skip("the default batch size is the fastest")
        return default if request.param == "default" else fastest

    return choose


def check(maps: Tensor, ours: xai.Saliency) -> None:
    both = torch.stack([unit(maps.to(DEVICE)).flatten(), ours.values.flatten()])
    assert both.corrcoef()[0, 1] > 0.99


def test_plain_forward(timed: Timing, model: nn.Module, image: Tensor) -> None:
    timed("plain forward pass", lambda: model(image), rounds=10, warm=1)


def test_forward_without_graph(timed: Timing, model: nn.Module, image: Tensor) -> None:
    with torch.no_grad():
        timed("forward pass under no_grad", lambda: model(image), rounds=10, warm=1)


def test_xai_core(timed: Timing, engine: xai.Engine, image: Tensor, ours: xai.Saliency) -> None:
    check(timed("xai-core", lambda: engine.explain(image, METHOD)["score-cam"].values), ours)


def test_pytorch_grad_cam(
    timed: Timing, model: nn.Module, image: Tensor, ours: xai.Saliency, batch: Callable[[int], int]
) -> None:
    with ScoreCAM(model=model, target_layers=[model.layer4[-1]]) as cam:
        cam.batch_size = batch(16)
        maps = timed(f"pytorch-grad-cam, batch {cam.batch_size}", lambda: cam(input_tensor=image, targets=None))
    check(torch.from_numpy(maps), ours)


def test_torchcam(
    timed: Timing, model: nn.Module, image: Tensor, ours: xai.Saliency, batch: Callable[[int], int]
) -> None:
    def run() -> Tensor:
        with torch.inference_mode():
            scores = model(image)
        (maps,) = cam(class_idx=scores.argmax(1).tolist())
        return F.interpolate(maps[:, None], image.shape[-2:], mode="bilinear")[:, 0]

    with TorchcamScoreCAM(model, model.layer4[-1], batch_size=batch(32)) as cam:
        maps = timed(f"torchcam, batch {cam.bs}", run)
    check(maps, ours)
