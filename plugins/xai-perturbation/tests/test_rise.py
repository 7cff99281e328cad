"""RISE against the loop of its paper and its authors' code, and against its expectation on a linear model."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from skimage.transform import resize
from torch import Tensor, nn

import xai_core as xai
from support.models import GatedCNN, Linear, fused_vit, settled
from support.observing import Largest, given_to
from xai_core.errors import OptionError


def replica(
    model: nn.Module,
    image: Tensor,
    target: int,
    masks: int,
    cells: int = 7,
    probability: float = 0.5,
    logit: bool = False,
    blank: Tensor | float = 0.0,
    seed: int = 0,
) -> Tensor:
    """The map of one image, mask by mask, in float64.

    A mask's numbers come in the order: its place from above, from the left, its cells.
    """
    height, width = image.shape[1:]
    size = np.array([math.ceil(height / cells), math.ceil(width / cells)])
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(height, width, dtype=torch.float64)
    for _ in range(masks):
        drawn = torch.rand(2 + cells**2, generator=generator, dtype=torch.float64).numpy()
        y, x = (drawn[:2] * size).astype(int)
        grid = (drawn[2:] < probability).astype(np.float64).reshape(cells, cells)
        upsampled = resize(grid, (cells + 1) * size, order=1, mode="reflect", anti_aliasing=False)
        mask = torch.from_numpy(upsampled[y : y + height, x : x + width].copy())
        scores = model((mask * image + (1 - mask) * blank)[None])
        total += (scores if logit else scores.softmax(1))[0, target] * mask
    return total / masks / probability


MODELS = {"cnn": (GatedCNN, (37, 26)), "vit": (fused_vit, (32, 32))}
OPTIONS: list[dict[str, Any]] = [{}, {"score": "logit", "cells": 3, "probability": 0.3, "seed": 5}]


@torch.no_grad()
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("family", MODELS)
def test_equals_its_replica_whatever_the_block(family: str, options: dict[str, Any]) -> None:
    make, size = MODELS[family]
    model, images = settled(make()).double(), torch.randn(2, 3, *size, dtype=torch.float64)
    ids = model(images).argmax(1).tolist()
    logit = options.get("score") == "logit"
    rest = {name: value for name, value in options.items() if name != "score"}
    expected = torch.stack(
        [replica(model, image, id_, 11, logit=logit, **rest) for image, id_ in zip(images, ids, strict=True)]
    )
    for block in (1, 7, 64):
        ours = xai.Engine(model, block=block).explain(images, xai.create_explainer("rise", masks=11, **options))["rise"]
        torch.testing.assert_close(ours.raw.double(), expected, atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_a_mask_shows_the_image_in_front_of_the_baseline(images: Tensor) -> None:
    model, images = settled(GatedCNN()).double(), images.double()
    blank = images.mean((2, 3), keepdim=True)
    ours = xai.Engine(model).explain(images, "rise:masks=9,baseline=mean", target=1)["rise:masks=9,baseline=mean"]
    expected = torch.stack([replica(model, images[i], 1, 9, blank=blank[i]) for i in range(3)])
    torch.testing.assert_close(ours.raw.double(), expected, atol=1e-6, rtol=1e-6)


def overlap(side: int, cells: int) -> Tensor:
    """E[a_j(u) a_j(v)] summed over cells j, of pixels u and v of a line, over the places of the crop."""
    size = math.ceil(side / cells)
    line = resize(np.eye(cells), ((cells + 1) * size, cells), order=1, mode="reflect", anti_aliasing=False)
    crops = [torch.from_numpy(line[place : place + side].copy()) for place in range(size)]
    return torch.stack([crop @ crop.T for crop in crops]).mean(0)


@torch.no_grad()
def test_on_a_linear_model_the_expectation_is_affine_in_the_contributions() -> None:
    """L = p sum_u c_u + (1 - p) sum_u K(u, .) c_u, K the correlation of a mask at two pixels.

    A term f(x * M) M / p is in [0, A / p], A = sum_u c_u, so by Hoeffding no pixel is off by more than t, but with
    probability 2 H W exp(-2 N (t p / A)^2).
    """
    height, width, cells, probability, masks, risk = 12, 18, 3, 0.5, 8000, 1e-6
    model = Linear((height, width)).double()
    contributions = torch.zeros(height, width, dtype=torch.float64)
    contributions[1:3, 2:5], contributions[8:11, 12:15] = 1.0, 3.0
    model.weight[2] = contributions / 3
    images = torch.ones(1, 3, height, width, dtype=torch.float64)
    spec = f"rise:masks={masks},cells={cells},probability={probability},score=logit"
    raw = xai.Engine(model).explain(images, spec, target=2)[spec].raw[0].double()
    total = contributions.sum()
    shared = torch.einsum("uv,uw,wx->vx", overlap(height, cells), contributions, overlap(width, cells))
    expected = probability * total + (1 - probability) * shared
    bound = total / probability * math.sqrt(math.log(2 * height * width / risk) / (2 * masks))
    assert (raw - expected).abs().max() < bound
    strong, weak, none = raw[8:11, 12:15], raw[1:3, 2:5], raw[0, -1]
    assert strong.min() > weak.max()
    assert weak.min() > none


def test_targets_share_the_forwards_and_images_the_masks(images: Tensor) -> None:
    model = settled(GatedCNN())
    engine, explainer = xai.Engine(model, block=8), xai.create_explainer("rise", masks=20)
    with given_to(model) as alone:
        engine.adapter(images)
        one = engine.explain(images, explainer, target=3)["rise"]
    with given_to(model) as together:
        both = engine.explain(images, explainer, target=[[3, 1], [3, 0], [3, 2]])["rise"]
    torch.testing.assert_close(both.raw[:, 0], one.raw)
    assert sum(map(len, alone)) - 2 == sum(map(len, together)) == 3 * explainer.forward_passes(engine.adapter(images))
    shown = [batch.view(3, -1, *images.shape[1:]) for batch in together[1:]]
    masks = torch.cat(shown, 1) / images[:, None]
    torch.testing.assert_close(masks[0], masks[1], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(masks[0], masks[2], atol=1e-3, rtol=1e-3)


def test_memory_does_not_grow_with_the_number_of_masks(images: Tensor) -> None:
    engine = xai.Engine(settled(GatedCNN()), block=6)
    engine.adapter(images)
    made = []
    for masks in (10, 100):
        with Largest() as largest:
            engine.explain(images, xai.create_explainer("rise", masks=masks))
        made.append(largest.made)
    assert made[0] == made[1] <= 6 * 8 * 32 * 32


def test_it_explains_a_callable_and_a_bfloat16_model(images: Tensor) -> None:
    model = settled(GatedCNN())
    spec = "rise:masks=50,score=logit"
    by_class = xai.Engine(model).explain(images, spec, target=2)[spec]
    by_callable = xai.Engine(model).explain(images, spec, target=lambda output: output[:, 2])[spec]
    torch.testing.assert_close(by_callable.raw, by_class.raw)
    half = xai.Engine(model.bfloat16()).explain(images, spec, target=2)[spec]
    assert half.raw.dtype == torch.float32
    torch.testing.assert_close(half.raw, by_class.raw, atol=0.03, rtol=0.03)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"masks": 0}, "masks must be an integer of at least 1"),
        ({"cells": 1}, "cells must be an integer of at least 2"),
        ({"probability": 0.0}, r"in \(0, 1\)"),
        ({"probability": 1.0}, r"in \(0, 1\)"),
        ({"score": "softmax"}, "probability, logit"),
    ],
)
def test_bad_options(options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        xai.create_explainer("rise", **options)
