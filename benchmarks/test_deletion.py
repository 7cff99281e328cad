"""Deletion, eight images, for a fixed map.

Quantus replaces channel features, not pixels. With 1,792 features per step, it replaces 597 1/3 pixels per step in 84
steps. With 1,792 pixels per step, as in the RISE notebook, there are 28 steps. The number of features per step must
divide H * W in Quantus, so 28 steps of whole pixels are impossible at 224x224. xai-core is timed with 28 steps of 1,792
pixels, a third of the forward passes of Quantus. It is also timed with 84 steps, the same number of forward passes.
"""

import numpy as np
import pytest
import quantus
import torch
from timing import DEVICE, Timing
from torch import Tensor, nn
from torchvision.models import resnet18

import xai_core as xai

PER_STEP = 1792


class Shuffled(xai.Explainer):
    """Map without ties, so that every library replaces the same pixels at each step."""

    name = "shuffled"

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return xai.Needs()

    def explain(self, captured: xai.Captured) -> Tensor:
        batch, _, height, width = captured.images.shape
        generator = torch.Generator().manual_seed(0)
        maps = [torch.randperm(height * width, generator=generator).view(height, width) for _ in range(batch)]
        return torch.stack(maps).to(captured.images)


@pytest.fixture(scope="module", params=["resnet18", "a trivial model"])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def group(name: str) -> str:
    return f"Deletion, {name}, 8 images"


@pytest.fixture(scope="module")
def model(name: str) -> nn.Module:
    torch.manual_seed(0)
    trivial = nn.Sequential(nn.AvgPool2d(32), nn.Flatten(), nn.Linear(3 * 7 * 7, 10))
    return (resnet18() if name == "resnet18" else trivial).eval().to(DEVICE)


@pytest.fixture(scope="module")
def saliency(engine: xai.Engine, images: Tensor) -> xai.Saliency:
    return engine.explain(images, Shuffled())["shuffled"]


@pytest.fixture(scope="module")
def ours(engine: xai.Engine, images: Tensor, saliency: xai.Saliency) -> xai.MetricResult:
    return deletion(engine, images, saliency, steps=28)


def deletion(engine: xai.Engine, images: Tensor, saliency: xai.Saliency, steps: int) -> xai.MetricResult:
    metric = xai.create_metric("deletion", steps=steps)
    return engine.evaluate(images, {"shuffled": saliency}, metric)["shuffled"]["deletion"]


def check(curve: Tensor, ours: xai.MetricResult) -> None:
    rtol = 1e-3 if DEVICE.type == "cpu" else 2e-2  # rounding of TF32 depends on the batch size
    torch.testing.assert_close(curve, ours.curve, atol=1e-5, rtol=rtol)


def test_plain_forward(timed: Timing, model: nn.Module, images: Tensor) -> None:
    timed("plain forward pass", lambda: model(images), rounds=10, warm=1)


def test_forward_without_graph(timed: Timing, model: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        timed("forward pass under no_grad", lambda: model(images), rounds=10, warm=1)


@pytest.mark.parametrize("steps", [28, 84])
def test_xai_core(
    timed: Timing, engine: xai.Engine, images: Tensor, saliency: xai.Saliency, ours: xai.MetricResult, steps: int
) -> None:
    score = timed(f"xai-core, {steps} steps", lambda: deletion(engine, images, saliency, steps))
    check(score.curve[:, :: steps // 28], ours)


def test_quantus(
    timed: Timing, model: nn.Module, images: Tensor, saliency: xai.Saliency, ours: xai.MetricResult
) -> None:
    """Quantus requires NumPy arrays. Their creation is not timed."""
    metric = quantus.PixelFlipping(features_in_step=PER_STEP, perturb_baseline=0.0, disable_warnings=True)
    with torch.no_grad():
        classes = model(images).argmax(1).cpu().numpy()
    x, a = images.cpu().numpy(), saliency.values[:, None].cpu().numpy()
    curve = timed(
        f"quantus, 84 steps of {PER_STEP} features",
        lambda: metric(model=model, x_batch=x, y_batch=classes, a_batch=a, softmax=True, device=DEVICE.type),
    )
    after = torch.from_numpy(np.array(curve, dtype=np.float32)).to(DEVICE)[:, 2::3]
    check(torch.cat([ours.curve[:, :1], after], 1), ours)
