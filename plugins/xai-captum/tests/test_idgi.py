"""IDGI against a replica in float64: one point of the path after the other."""

import copy
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import Plain, SmallCNN, fused_vit, settled
from support.references import relative

CLASS = 2


def replica(model: nn.Module, images: Tensor, baselines: Tensor, steps: int) -> Tensor:
    """Sum over the points of (y_next - y) g^2 / sum(g^2), for one image after the other."""
    model, total = copy.deepcopy(model).double(), torch.zeros_like(images).double()
    for image, baseline, relevance in zip(images.double(), baselines.double(), total, strict=True):
        points = [baseline + j / steps * (image - baseline) for j in range(steps + 1)]
        for point, following in pairwise(points):
            point.requires_grad_()
            score = model(point[None])[0, CLASS]
            (gradient,) = torch.autograd.grad(score, point)
            change = model(following[None])[0, CLASS] - score
            if gradient.any():
                relevance += (change * gradient**2 / (gradient**2).sum()).detach()
    return total.sum(1)


def explained(model: nn.Module, images: Tensor, block: int | None = None, **options: object) -> Tensor:
    explainer = xai.create_explainer("idgi", channels="sum", **options)
    return xai.Engine(model, block=block).explain(images, explainer, CLASS)["idgi"].raw


@pytest.mark.parametrize(("make", "block"), [(SmallCNN, 2), (SmallCNN, 7), (fused_vit, 64)])
def test_equals_its_replica(make: Callable[[], nn.Module], images: Tensor, block: int) -> None:
    model, images = settled(make()).double(), images.double()
    expected = replica(model, images, torch.zeros_like(images), 6)
    assert relative(explained(model, images, block, n_steps=6), expected) < 1e-6


def test_starts_at_the_baseline(images: Tensor) -> None:
    model, images = settled(SmallCNN()).double(), images.double()
    baselines = images.mean((2, 3), keepdim=True).expand_as(images)
    ours = explained(model, images, n_steps=4, baselines="mean")
    assert relative(ours, replica(model, images, baselines, 4)) < 1e-6


@pytest.mark.parametrize("steps", [1, 2, 50])
def test_any_number_of_steps_is_complete(images: Tensor, steps: int) -> None:
    model, images = settled(SmallCNN()).double(), images.double()
    difference = (model(images) - model(torch.zeros_like(images)))[:, CLASS].detach().float()
    torch.testing.assert_close(explained(model, images, n_steps=steps).sum((1, 2)), difference)


class Gap(nn.Module):
    """A score without a gradient in the first half of the path from zero: relu(sum(x) / n - 1 / 2)."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.relu(x.mean((1, 2, 3)) - 0.5)[:, None].expand(-1, 4)


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_a_step_without_gradient_adds_nothing() -> None:
    ours = explained(Gap(), torch.ones(1, 3, 8, 8).double(), n_steps=5)
    # The points are 0, 0.2, ..., 1. At 0.4 the gradient is zero, so the change up to 0.6, which is 0.1, is lost.
    torch.testing.assert_close(ours, torch.full((1, 8, 8), 0.4 / 64))


class Faint(Plain):
    """Scores whose gradients are so small that their squares are zero in float32."""

    def forward(self, x: Tensor) -> Tensor:
        return 1e-25 * super().forward(x)


def test_the_squares_of_small_gradients_do_not_vanish(images: Tensor) -> None:
    torch.manual_seed(0)
    plain = settled(Plain())
    faint = Faint()
    faint.load_state_dict(plain.state_dict())
    ours = explained(faint.eval(), images, n_steps=4)
    assert relative(1e25 * ours, explained(plain, images, n_steps=4)) < 1e-4
