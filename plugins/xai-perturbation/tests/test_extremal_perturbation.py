"""Extremal perturbation against its equations in float64, and against a region that is known."""

import functools
import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

import xai_core as xai
from support.models import GatedCNN, SmallCNN, fused_vit, settled
from support.volume_models import PlainCNN3d, SmallCNN3d, built, two_clips
from xai_core.errors import ConstantMapWarning, OptionError
from xai_core.plugin import baseline_images
from xai_perturbation.smooth_masks import SmoothMasks

CELL, SIGMA, STEPS, AREAS, CLASS = 3, 5.0, 6, [0.1, 0.3], 1
OPTIONS = {"areas": AREAS, "cell": CELL, "sigma": SIGMA, "steps": STEPS}
MARGIN, REACH = 2, 3  # cells: 5 / 3, rounded up, and one more


@functools.cache
def kernels(size: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The kernel of each point at each pixel, and which points contribute to a pixel. The margin has points too."""
    pixels = list(itertools.product(*(range(-MARGIN * CELL, side + MARGIN * CELL) for side in size)))
    far = MARGIN + REACH
    points = list(itertools.product(*(range(-far, math.ceil(side / CELL) + far) for side in size)))
    pixel, point = torch.tensor(pixels).double()[:, None], torch.tensor(points).double()
    distance = (pixel - CELL * point).square().sum(2).sqrt() / SIGMA
    near = ((pixel / CELL).floor() - point).abs().amax(2) <= REACH
    return torch.exp(-2 * (distance - 0.5).clamp_min(0) ** 2), near


def mask_of(values: Tensor, size: tuple[int, ...]) -> Tensor:
    """The mask with its margin: the smooth maximum of all points, for each pixel."""
    kernel, near = kernels(size)
    f = kernel * nn.functional.pad(values, [MARGIN + REACH] * 2 * len(size)).flatten()
    mask = (f * (20 * f).masked_fill(~near, -math.inf).softmax(1)).sum(1)
    return mask.view([side + 2 * MARGIN * CELL for side in size])


def blurs(image: Tensor) -> Tensor:
    """The pyramid of an image, by SciPy."""
    sigmas = 20 / 224 * min(image.shape[1:]) * (1 - np.arange(8) / 7)
    blur = [
        gaussian_filter(image.numpy(), (0, *[sigma] * (image.ndim - 1)), mode="constant", radius=math.ceil(4 * sigma))
        if sigma
        else image.numpy()
        for sigma in sigmas
    ]
    return torch.from_numpy(np.stack(blur))


def ranked(mask: Tensor, ones: float) -> Tensor:
    """Return the wanted value of each pixel: 1 for the largest values, and their mean for equal values."""
    values, index = (mask.flatten() * 1e4).round().unique(return_inverse=True)  # in increasing order
    wanted = (torch.arange(mask.numel()) + 1 - (mask.numel() - ones)).clamp(0, 1).double()
    means = [group.mean() for group in wanted.split(index.bincount(minlength=len(values)).tolist())]
    return torch.stack(means)[index].view(mask.shape)


def replica(model: nn.Module, image: Tensor, area: float, levels: Tensor) -> Tensor:
    """The mask of one image and area, by SGD of PyTorch."""
    size = tuple(image.shape[1:])
    values = torch.ones([math.ceil(side / CELL) for side in size], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([values], lr=0.01, momentum=0.9, dampening=0.9, maximize=True)
    crop = tuple(slice(MARGIN * CELL, MARGIN * CELL + side) for side in size)
    for step in range(STEPS + 1):
        mask = mask_of(values, size)
        inside = mask[crop]
        position = inside * (len(levels) - 1)
        weights = [(1 - (position - level).abs()).relu() for level in range(len(levels))]
        score = model(sum(w * y for w, y in zip(weights, levels, strict=True))[None])[0, CLASS]
        wanted = ranked(mask.detach(), area * inside.numel())
        energy = score - 300 * 1.0035 ** (800 * step / STEPS) * (mask - wanted).square().mean()
        if step < STEPS:
            optimizer.zero_grad()
            energy.backward(inputs=[values])
            optimizer.step()
            values.data.clamp_(0, 1)
    return inside.detach()


def explained(
    model: nn.Module, images: Tensor, target: Any = CLASS, block: int | None = None, **options: Any
) -> xai.Saliency:
    explainer = xai.create_explainer("extremal-perturbation", **{**OPTIONS, **options})
    return xai.Engine(model, block=block).explain(images, explainer, target)["extremal-perturbation"]


@pytest.mark.parametrize("baseline", ["pyramid", "mean"])
def test_equals_its_replica(baseline: str) -> None:
    model, images = built(SmallCNN).double(), torch.randn(2, 3, 16, 13, dtype=torch.float64)
    hidden = None if baseline == "pyramid" else baseline_images(baseline, images)
    expected = torch.stack(
        [
            replica(model, image, area, blurs(image) if hidden is None else torch.stack([hidden[i], image]))
            for i, image in enumerate(images)
            for area in AREAS
        ]
    ).unflatten(0, (2, 2))
    for block in (3, 64):
        ours = explained(model, images, block=block, baseline=baseline)
        torch.testing.assert_close(ours.parts, expected, rtol=0, atol=1e-6)
        torch.testing.assert_close(ours.raw.double(), expected.sum(1), rtol=0, atol=1e-6)


def test_masks_of_volumes_are_those_of_the_equation() -> None:
    masks = SmoothMasks((2, 3, 4), CELL, SIGMA)
    values = torch.rand(1, *masks.grid, dtype=torch.float64)
    torch.testing.assert_close(masks(values)[0], mask_of(values[0], masks.size))


class Square(nn.Module):
    """The first score is the contrast of the pixels in a square, and the second is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.ones_(self.seen.weight)

    def forward(self, x: Tensor) -> Tensor:
        score = 10 * self.seen(x)[..., 4:12, 18:26].square().mean((1, 2, 3))
        return torch.stack([score, 0 * score], 1)


def test_the_mask_covers_the_pixels_that_the_score_depends_on() -> None:
    image = torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    options = {"areas": 64 / 1024, "steps": 100, "cell": 2, "sigma": 3, "rate": 0.1}
    mask = explained(Square(), image, 0, **options).raw[0]
    square = torch.zeros(32, 32, dtype=torch.bool)
    square[4:12, 18:26] = True
    assert mask.mean() == pytest.approx(64 / 1024, rel=0.3)
    assert mask[square].mean() > 0.8
    assert mask[~square].mean() < 0.03


def test_a_mask_without_evidence_is_zero() -> None:
    with pytest.warns(ConstantMapWarning):
        saliency = explained(Square(), torch.randn(1, 1, 32, 32), 1)
    assert not saliency.raw.any()


@pytest.mark.parametrize("make", [GatedCNN, fused_vit])
def test_targets_batches_and_functions_are_explained_alike(make: Any, images: Tensor) -> None:
    model, images = settled(make()).double(), images.double()
    options = {"areas": 0.1, "steps": 3}
    both = explained(model, images, [[1, 3]] * 3, **options).raw
    for index, target in enumerate((1, lambda output: output[:, 3])):
        ours = explained(model, images[1:2], target, **options).raw
        torch.testing.assert_close(ours[0], both[1, index])


def test_the_result_is_not_random(images: Tensor) -> None:
    model = settled(SmallCNN())
    first, second = (explained(model, images, seed=seed).raw for seed in (0, 1))
    assert torch.equal(first, second)


@pytest.mark.parametrize("make", [PlainCNN3d, SmallCNN3d])
def test_volumes(make: Any) -> None:
    maps = explained(built(make), two_clips()[..., :16, :16], areas=0.1, steps=2).raw
    assert maps.shape == (2, 8, 16, 16)
    assert maps.flatten(1).std(1).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"areas": "0.1+much"}, "numbers joined by plus signs"),
        ({"areas": [0.1, 1.0]}, r"areas must be a number in \(0, 1\)"),
        ({"steps": 0}, "at least 1"),
        ({"cell": 0}, "at least 1"),
        ({"sigma": 0}, "sigma"),
        ({"penalty": -1}, "penalty"),
        ({"rate": 0}, "rate"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        xai.create_explainer("extremal-perturbation", **options)


def test_an_unknown_baseline_is_rejected(images: Tensor) -> None:
    with pytest.raises(OptionError, match="baseline must be"):
        explained(settled(SmallCNN()), images, baseline="gray")
