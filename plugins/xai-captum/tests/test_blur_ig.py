"""Blur IG against a replica in float64 with SciPy's Gaussian filter, and against the integral of the paper."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

import xai_core as xai
from support.models import Linear, SmallCNN, fused_vit, settled
from support.references import relative
from support.volume_models import PlainCNN3d, built, two_clips
from xai_core.errors import OptionError

CLASS = 2


def blurred(image: Tensor, sigma: float) -> Tensor:
    """The image [C,...] with zeros around it, filtered by a Gaussian that is cut off at ten standard deviations."""
    sigmas = [0.0, *[sigma] * (image.ndim - 1)]
    return torch.from_numpy(gaussian_filter(image.double().numpy(), sigmas, mode="constant", truncate=10))


def gradient_at(model: nn.Module, image: Tensor) -> Tensor:
    leaf = image[None].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(leaf)[0, CLASS], leaf)
    return gradient[0]


def replica(model: nn.Module, images: Tensor, sigma: float, steps: int) -> Tensor:
    """Sum over the steps, from the blurred image on, of the step times the mean gradient at its ends."""
    model, maps = copy.deepcopy(model).double(), []
    for image in images:
        points = [blurred(image, level) for level in np.linspace(sigma, 0, steps + 1)]
        ends = pairwise([(point, gradient_at(model, point)) for point in points])
        maps.append(sum(((after - before) * (g + h) / 2).sum(0) for (before, g), (after, h) in ends))
    return torch.stack(maps)


def explained(model: nn.Module, images: Tensor, block: int | None = None, **options: object) -> Tensor:
    explainer = xai.create_explainer("blur-ig", channels="sum", **options)
    return xai.Engine(model, block=block).explain(images, explainer, CLASS)["blur-ig"].raw


@pytest.mark.parametrize("block", [2, 7, 64])
@pytest.mark.parametrize("size", [(32, 32), (24, 40)], ids=["square", "oblong"])
def test_equals_its_replica(size: tuple[int, int], block: int) -> None:
    model, images = settled(SmallCNN()).double(), torch.randn(3, 3, *size).double()
    ours = explained(model, images, block, max_sigma=5, n_steps=6)
    assert relative(ours, replica(model, images, 5, 6)) < 1e-6


def test_equals_its_replica_on_volumes() -> None:
    model, clips = built(PlainCNN3d).double(), two_clips().double()
    assert relative(explained(model, clips, max_sigma=3, n_steps=3), replica(model, clips, 3, 3)) < 1e-6


def test_a_large_sigma_leaves_little_of_a_small_image(images: Tensor) -> None:
    model, images = settled(SmallCNN()).double(), images.double()
    assert relative(explained(model, images, n_steps=3), replica(model, images, 50, 3)) < 1e-6


def test_any_number_of_steps_is_exact_for_a_linear_model(images: Tensor) -> None:
    model = Linear((32, 32), classes=5)
    removed = images - torch.stack([blurred(image, 4) for image in images]).float()
    expected = (removed * model.weight[CLASS]).sum(1).detach()
    torch.testing.assert_close(explained(model, images, max_sigma=4, n_steps=2), expected, atol=1e-4, rtol=1e-4)


def test_it_is_the_integral_of_the_paper(images: Tensor) -> None:
    """The derivative by t is a central difference, and the integral a midpoint rule with many steps."""
    model, image = settled(fused_vit()).double(), images[0].double()
    steps, sigma, difference = 600, 3.0, 1e-4
    integral = torch.zeros(32, 32).double()
    for level in (np.arange(steps) + 0.5) * sigma / steps:
        low, high = level - min(difference, level / 2), level + min(difference, level / 2)
        derivative = (blurred(image, high) - blurred(image, low)) / (high - low)
        integral -= (gradient_at(model, blurred(image, level)) * derivative).sum(0) * sigma / steps
    ours = explained(model, image[None], max_sigma=sigma, n_steps=150)
    assert relative(ours[0], integral) < 1e-3


@pytest.mark.parametrize("options", ["max_sigma=0", "max_sigma=-1", "n_steps=0"])
def test_options_that_make_no_sense_are_errors(options: str) -> None:
    with pytest.raises(OptionError, match="must be"):
        xai.create_explainer(f"blur-ig:{options}")
