"""Recipro-CAM against loops over locations in float64 that follow its papers."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from support.references import Reference, relative
from support.volume_models import PlainCNN3d, built, two_clips

TARGETS = [3, 1]
GAUSSIAN = torch.tensor([1, 2, 1]).double() / 4
ALONE = torch.tensor([0, 1, 0]).double()


def masks(grid: tuple[int, ...], kernel: Tensor) -> Tensor:
    """The mask of each location, a 3x3 kernel around it [locations,*grid]."""
    each = []
    for location in itertools.product(*map(range, grid)):
        mask = torch.zeros([side + 2 for side in grid], dtype=torch.float64)
        weights = torch.tensor(1, dtype=torch.float64)
        for _ in grid:
            weights = weights[..., None] * kernel
        mask[tuple(slice(index, index + 3) for index in location)] = weights
        each.append(mask[tuple(slice(1, -1) for _ in grid)])
    return torch.stack(each)


@pytest.mark.parametrize(("options", "kernel"), [("", GAUSSIAN), (":score=logit,gaussian=false", ALONE)])
@pytest.mark.parametrize(("make", "layer"), [(SmallCNN, "last"), (fused_vit, "blocks.2.norm1")])
def test_maps_are_those_of_the_papers(make: Callable[[], nn.Module], layer: str, options: str, kernel: Tensor) -> None:
    """The class token of a ViT keeps its value, and blocks contain locations of both images."""
    model, images = settled(make()), torch.randn(2, 3, 32, 32)
    reference = Reference(model, layer, images)
    engine = xai.Engine(model.double(), block=24)
    ours = engine.explain(images.double(), f"recipro-cam{options}", [TARGETS, TARGETS[::-1]])
    [maps] = [saliency.raw for saliency in ours.values()]  # [B,targets,h,w]
    for image, activation in enumerate(reference.activation):
        all_masks = masks(tuple(activation.shape[1:]), kernel)
        outputs, _ = reference.forward(
            reference.images[image].expand(len(all_masks), -1, -1, -1), activation * all_masks[:, None]
        )
        scores = outputs if options else outputs.softmax(1)
        targets = TARGETS if image == 0 else TARGETS[::-1]
        expected = scores[:, targets].mT.unflatten(1, activation.shape[1:])
        assert relative(maps[image], expected) < 1e-6  # maps are float32


def test_maps_of_volumes() -> None:
    model: Any = built(PlainCNN3d).double()
    clips = two_clips()[:1].double()
    [maps] = xai.Engine(model).explain(clips, "recipro-cam:score=logit", 2).values()
    activation = model.last(model.first(clips))
    all_masks = masks(tuple(activation.shape[2:]), GAUSSIAN)
    expected = model.head((activation * all_masks[:, None]).mean((2, 3, 4)))[:, 2]
    assert relative(maps.raw.flatten(), expected.detach()) < 1e-6


def test_only_the_head_runs_for_the_last_features() -> None:
    model: Any = settled(SmallCNN())
    seen: list[int] = []
    engine = xai.Engine(model)
    engine.adapter(torch.randn(1, 3, 32, 32))
    model.stem.register_forward_pre_hook(lambda _, args: seen.append(0 if args[0].is_meta else len(args[0])))
    engine.explain(torch.randn(2, 3, 32, 32), "recipro-cam")
    assert sum(seen) == 2
