"""Occlusion against captum's, on models of both kinds and sizes that the patches do not divide."""

from typing import Any

import pytest
import torch
from captum.attr import Occlusion
from torch import Tensor, nn

import xai_core as xai
from support.models import GatedCNN, Linear, fused_vit, settled
from support.observing import Largest, given_to
from xai_core.errors import OptionError
from xai_core.plugin import baseline_images

MODELS = {"cnn": (GatedCNN, (37, 26)), "vit": (fused_vit, (32, 32))}


def by_captum(
    model: nn.Module, images: Tensor, target: Tensor, size: tuple[int, int], stride: tuple[int, int], blank: Any
) -> Tensor:
    found = Occlusion(model).attribute(
        images,
        (images.shape[1], *size),
        strides=(images.shape[1], *stride),
        baselines=blank,
        target=target,
        perturbations_per_eval=1,
    )
    assert torch.equal(found[:, 0], found[:, -1])  # a patch hides all channels
    return found[:, 0].double()


@torch.no_grad()
@pytest.mark.parametrize(
    ("family", "size", "stride"),
    [("cnn", 8, 8), ("cnn", 8, 3), ("cnn", 5, 4), ("cnn", 7, 5), ("cnn", 26, 20), ("vit", 8, 8), ("vit", 7, 5)],
)
def test_equals_captum(family: str, size: int, stride: int) -> None:
    make, shape = MODELS[family]
    model, images = settled(make()).double(), torch.randn(2, 3, *shape, dtype=torch.float64)
    target = torch.tensor([3, 1])
    expected = by_captum(model, images, target, (size, size), (stride, stride), 0)
    for block in (1, 5, 64):
        explainer = xai.create_explainer("occlusion", size=size, stride=stride, score="logit")
        ours = xai.Engine(model, block=block).explain(images, explainer, target=target)["occlusion"]
        torch.testing.assert_close(ours.raw.double(), expected, atol=1e-6, rtol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("baseline", ["mean", "blur", "noise"])
def test_equals_captum_with_other_baselines_and_probabilities(images: Tensor, baseline: str) -> None:
    model, images = settled(GatedCNN()).double(), images.double()
    blank = baseline_images(baseline, images, seed=4)
    probability = nn.Sequential(model, nn.Softmax(1))
    expected = by_captum(probability, images, torch.tensor([2, 2, 2]), (6, 6), (5, 5), blank)
    explainer = xai.create_explainer("occlusion", size=6, stride=5, baseline=baseline, seed=4)
    ours = xai.Engine(model).explain(images, explainer, target=2)["occlusion"]
    torch.testing.assert_close(ours.raw.double(), expected, atol=1e-6, rtol=1e-6)


@torch.no_grad()
def test_the_patch_is_a_fifth_of_each_side_and_goes_by_half_of_it() -> None:
    model, images = settled(GatedCNN()).double(), torch.randn(1, 3, 28, 46, dtype=torch.float64)
    expected = by_captum(model, images, torch.tensor([0]), (6, 10), (3, 5), 0)
    engine = xai.Engine(model)
    with given_to(model) as given:
        ours = engine.explain(images, "occlusion:score=logit", target=0)["occlusion:score=logit"]
    torch.testing.assert_close(ours.raw.double(), expected, atol=1e-6, rtol=1e-6)
    forwards = xai.create_explainer("occlusion").forward_passes(engine.adapter(images))
    assert forwards == sum(map(len, given)) - 2 == 2 + 9 * 9  # without the two of the probe


@torch.no_grad()
def test_on_a_linear_model_it_is_the_contribution_of_each_pixel() -> None:
    model, images = Linear((6, 9)), torch.randn(2, 3, 6, 9)
    ours = xai.Engine(model).explain(images, "occlusion:size=1,score=logit", target=2)["occlusion:size=1,score=logit"]
    torch.testing.assert_close(ours.raw, (model.weight[2] * images).sum(1), atol=1e-4, rtol=1e-4)


def test_targets_share_the_forwards(images: Tensor) -> None:
    model = settled(GatedCNN())
    engine, explainer = xai.Engine(model, block=8), xai.create_explainer("occlusion")
    engine.adapter(images)
    with given_to(model) as alone:
        one = engine.explain(images, explainer, target=3)["occlusion"]
    with given_to(model) as together:
        both = engine.explain(images, explainer, target=[[3, 1], [3, 0], [3, 2]])["occlusion"]
    torch.testing.assert_close(both.raw[:, 0], one.raw)
    assert sum(map(len, alone)) == sum(map(len, together)) == 3 * explainer.forward_passes(engine.adapter(images))


def test_memory_does_not_grow_with_the_number_of_patches(images: Tensor) -> None:
    engine = xai.Engine(settled(GatedCNN()), block=6)
    engine.adapter(images)
    made = []
    for stride in (8, 2):
        with Largest() as largest:
            engine.explain(images, xai.create_explainer("occlusion", size=8, stride=stride))
        made.append(largest.made)
    assert made[0] == made[1] <= 6 * 8 * 32 * 32


def test_it_explains_a_callable_and_a_bfloat16_model(images: Tensor) -> None:
    model = settled(GatedCNN())
    spec = "occlusion:score=logit"
    by_class = xai.Engine(model).explain(images, spec, target=2)[spec]
    by_callable = xai.Engine(model).explain(images, spec, target=lambda output: output[:, 2])[spec]
    torch.testing.assert_close(by_callable.raw, by_class.raw)
    half = xai.Engine(model.bfloat16()).explain(images, spec, target=2)[spec]
    assert half.raw.dtype == torch.float32
    torch.testing.assert_close(half.raw, by_class.raw, atol=0.03, rtol=0.03)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 0}, "size must be an integer of at least 1"),
        ({"stride": 0}, "stride must be an integer of at least 1"),
        ({"score": "softmax"}, "probability, logit"),
        ({"size": 33}, "size must be at most the side of the image"),
        ({"size": 4, "stride": 5}, "stride must be at most size"),
        ({"baseline": "black"}, "baseline must be zero"),
    ],
)
def test_bad_options(images: Tensor, options: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        xai.Engine(settled(GatedCNN())).explain(images, xai.create_explainer("occlusion", **options))
