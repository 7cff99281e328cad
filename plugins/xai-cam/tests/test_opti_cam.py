"""Opti-CAM against a loop in float64 that maximizes the score by Adam of PyTorch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from support.references import Reference, relative, resized
from support.volume_models import PlainCNN3d, built, two_clips
from xai_core.errors import OptionError

STEPS, RATE = 12, 0.2
METHOD = f"opti-cam:steps={STEPS},rate={RATE}"


def mask(weights: Tensor, channels: Tensor) -> Tensor:
    """The combination of the channels [K,h,w] at the size of the image, between zero and one."""
    large = resized((weights.softmax(0)[:, None, None] * channels).sum(0)[None], (32, 32))[0]
    return (large - large.min()) / (large.max() - large.min())


def replica(reference: Reference, i: int, hidden: Tensor | float = 0) -> Tensor:
    """The map of one image, whose hidden pixels have the value `hidden`."""
    image, target, channels = reference.images[i], reference.target[i], reference.activation[i].relu()
    weights = torch.zeros(len(channels), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=RATE, maximize=True)
    for _ in range(STEPS):
        optimizer.zero_grad()
        masked = hidden + (image - hidden) * mask(weights, channels)
        reference.model(masked[None])[0, target].backward(inputs=[weights])
        optimizer.step()
    return (weights.detach().softmax(0)[:, None, None] * channels).sum(0)


def explain(model: nn.Module, images: Tensor, method: str, target: Any = None, **options: Any) -> Tensor:
    [saliency] = xai.Engine(model, **options).explain(images, method, target).values()
    return saliency.raw


@pytest.mark.parametrize(("make", "layer"), [(SmallCNN, "last"), (fused_vit, "blocks.2.norm1")])
def test_equals_its_replica(images: Tensor, make: Callable[[], nn.Module], layer: str) -> None:
    model = settled(make())
    reference = Reference(model, layer, images)
    expected = torch.stack([replica(reference, i) for i in range(3)])
    ours = explain(model.double(), images.double(), f"{METHOD},layer={layer}", block=2)
    assert relative(ours, expected) < 1e-6
    assert relative(explain(model, images.double(), f"opti-cam:steps=1,rate=1e-9,layer={layer}"), expected) > 0.01


def test_black_pixels_as_in_the_authors_code_change_the_map_by_this_much(images: Tensor) -> None:
    """As shares of the peak, for the mean and the standard deviation of ImageNet."""
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).double()[..., None, None]
    reference = Reference(settled(SmallCNN()), "last", images)
    gray, black = (replica(reference, 0, hidden) for hidden in (0, -mean / deviation))
    assert relative(black / black.max(), gray / gray.max()) > 0.8


def test_the_mask_raises_the_score(images: Tensor) -> None:
    model = settled(SmallCNN())
    reference = Reference(model, "last", images)
    scores = []
    for method in ("opti-cam:steps=1,rate=1e-9", "opti-cam"):
        masks = xai.Engine(model).explain(images, method, reference.target)[method].values
        masked = model(images * masks[:, None])
        scores.append(masked[torch.arange(3), reference.target])
    assert (scores[1] > scores[0]).all()


def test_several_targets_are_those_of_each(images: Tensor) -> None:
    model = settled(SmallCNN()).double()
    both = explain(model, images.double(), METHOD, [[0, 1], [2, 3], [4, 0]])
    for index, targets in enumerate([[0, 2, 4], [1, 3, 0]]):
        torch.testing.assert_close(both[:, index], explain(model, images.double(), METHOD, targets))


def test_volumes() -> None:
    maps = explain(built(PlainCNN3d), two_clips(), "opti-cam:steps=2")
    assert maps.ndim == 4
    assert maps.any()


@pytest.mark.parametrize(("option", "message"), [("steps=0", "at least 1"), ("rate=0", "rate")])
def test_bad_options(option: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        xai.create_explainer(f"opti-cam:{option}")
