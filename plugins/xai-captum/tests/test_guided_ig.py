"""Guided IG against a replica in float64, which moves the pixels of one image in the units of the image."""

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import Linear, SmallCNN, fused_vit, settled
from support.references import relative
from xai_core.errors import OptionError

CLASS = 2


def gradient_at(model: nn.Module, point: np.ndarray) -> np.ndarray:
    leaf = torch.from_numpy(point)[None].requires_grad_()
    (gradient,) = torch.autograd.grad(model(leaf)[0, CLASS], leaf)
    return gradient[0].numpy()


def replica(model: nn.Module, image: Tensor, baseline: Tensor, steps: int, part: float, reach: float) -> Tensor:
    """Move the values of least gradient until their distance from the image, summed, is that of the straight line."""
    model, end, start = copy.deepcopy(model).double(), image.double().numpy(), baseline.double().numpy()
    x, total = start.copy(), np.zeros_like(end)
    for step in range(1, steps + 1):
        gradient, before, t = gradient_at(model, x), x.copy(), step / steps
        nearest, farthest = (start + (end - start) * np.clip(t + d, 0, 1) for d in (-reach, reach))
        behind = np.abs(end - x) > np.abs(end - nearest)
        x = np.where(behind, nearest, x)
        for _ in range(100):
            excess = np.abs(end - x).sum() - (1 - t) * np.abs(end - start).sum()
            sizes = np.where(np.abs(x - farthest) > 1e-12, np.abs(gradient), np.inf)
            if excess < 1e-10 or np.isinf(sizes).all():
                break
            chosen = (sizes <= np.quantile(sizes, part, method="lower")) & np.isfinite(sizes)
            possible = np.abs(farthest - x)[chosen].sum()
            x[chosen] += min(1, excess / possible) * (farthest - x)[chosen]
        total += gradient * (x - before)
    np.testing.assert_allclose(x, end, atol=1e-6)
    return torch.from_numpy(total.sum(0))


def explained(model: nn.Module, images: Tensor, block: int | None = None, **options: object) -> Tensor:
    explainer = xai.create_explainer("guided-ig", channels="sum", **options)
    return xai.Engine(model, block=block).explain(images, explainer, CLASS)["guided-ig"].raw


PATHS = {"default": (0.25, 0.02), "unbounded": (0.25, 1.0), "few at a time": (0.04, 0.2), "all at once": (1.0, 0.1)}


@pytest.mark.filterwarnings("ignore::RuntimeWarning:numpy")  # of the difference of two infinite values
@pytest.mark.parametrize(("fraction", "max_dist"), PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("make", [SmallCNN, fused_vit])
def test_equals_its_replica(make: Callable[[], nn.Module], images: Tensor, fraction: float, max_dist: float) -> None:
    model, images = settled(make()).double(), images.double()
    baselines = images.mean((2, 3), keepdim=True).expand_as(images)
    ours = explained(model, images, n_steps=6, fraction=fraction, max_dist=max_dist, baselines="mean")
    pairs = zip(images, baselines, strict=True)
    expected = torch.stack([replica(model, *pair, 6, fraction, max_dist) for pair in pairs])
    assert relative(ours, expected) < 1e-5


def test_without_distance_it_is_integrated_gradients(images: Tensor) -> None:
    """A Riemann sum with gradients at the start of each step."""
    model, images = settled(SmallCNN()).double(), images.double()
    expected = torch.zeros(3, 32, 32).double()
    for step in range(5):
        leaf = (step / 5 * images).requires_grad_()
        (gradient,) = torch.autograd.grad(model(leaf)[:, CLASS].sum(), leaf)
        expected += (gradient * images / 5).sum(1)
    assert relative(explained(model, images, n_steps=5, max_dist=0), expected) < 1e-6


@pytest.mark.parametrize("options", [{}, {"max_dist": 1.0}, {"fraction": 0.01, "n_steps": 2}])
def test_it_is_exact_for_a_linear_model(images: Tensor, options: dict[str, float]) -> None:
    """All values arrive at the image, also those that equal the baseline at the start."""
    model = Linear((32, 32), classes=5)
    images = images.clone()
    images[:, :, :8] = 0
    expected = (images * model.weight[CLASS]).sum(1).detach()
    ours = explained(model, images, **{"n_steps": 7, **options})
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


def test_values_with_equal_gradients_move_together() -> None:
    """The score sees the left half only, so the right half has a gradient of zero, and moves first as a whole."""
    points = []

    class Half(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            points.append(x.detach()[0, 0])
            return x[..., :4].sum((1, 2, 3))[:, None].expand(-1, 4)

    explained(Half(), torch.ones(1, 3, 8, 8), n_steps=4, max_dist=1.0)
    torch.testing.assert_close(points[-3][0], torch.tensor([0.0] * 4 + [0.5] * 4))
    torch.testing.assert_close(points[-2][0], torch.tensor([0.0] * 4 + [1.0] * 4))


@pytest.mark.parametrize("options", ["fraction=0", "fraction=1.1", "max_dist=-0.1", "max_dist=2", "n_steps=0"])
def test_options_that_make_no_sense_are_errors(options: str) -> None:
    with pytest.raises(OptionError, match="must be"):
        xai.create_explainer(f"guided-ig:{options}")
