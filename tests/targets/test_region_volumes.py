"""Regions of segmentation models of volumes: scores, gradients and locations, against independent oracles."""

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.oracles import Oracle, gradient_error, reading, substitution_error
from support.volume_models import SIZE, SmallUNet3d, built, two_clips
from xai_core.errors import TargetError
from xai_core.outputs import scores_of
from xai_core.targets.pixel_scores import pixel_reader
from xai_core.targets.score_reader import ScoreReader

CLASS = 1
INSIDE = torch.zeros(SIZE, dtype=torch.bool)
INSIDE[2:6, 8:20, 4:24] = True


@pytest.fixture(scope="module")
def model() -> nn.Module:
    return built(SmallUNet3d)


def test_the_score_is_the_mean_logit_over_the_region(model: nn.Module) -> None:
    clips = two_clips()
    read = reading(xai.Engine(model), clips, xai.Region(CLASS, INSIDE))
    assert (read.layer, read.activation.shape[2:]) == ("merge", SIZE)
    oracle = Oracle(
        model, lambda model, clips: model(clips), lambda output: output[:, CLASS, INSIDE].mean(1), clips, read
    )
    assert gradient_error(oracle) < 1e-5
    assert substitution_error(oracle) < 1e-3
    assert oracle.places(lattice=4, textures=2).right


def test_the_default_region_is_that_of_the_predicted_class() -> None:
    ids, output = [2, 0], torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(2))
    bound = xai.Region(ids).bind(output, ScoreReader(scores_of), 2)
    for kind, scores in (("logit", output), ("probability", output.softmax(1))):
        expected = [each[k][logits.argmax(0) == k].mean() for each, logits, k in zip(scores, output, ids, strict=True)]
        torch.testing.assert_close(bound.measure(output, None, kind), torch.stack(expected))


def test_maps_and_curves_of_a_region(model: nn.Module) -> None:
    clips, region = two_clips(), xai.Region(CLASS, INSIDE)
    engine = xai.Engine(model)
    maps = engine.explain(clips, "saliency:channels=max, grad-cam", region)
    leaf = clips.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(model(leaf)[:, CLASS, INSIDE].mean(1).sum(), leaf)
    torch.testing.assert_close(maps["saliency:channels=max"].raw, gradient.abs().amax(1))
    assert maps["grad-cam"].values.shape == (2, *SIZE)
    curve = engine.evaluate(clips, maps["grad-cam"], "deletion:steps=2")["deletion:steps=2"].curve
    assert curve is not None
    torch.testing.assert_close(curve[:, 0], model(clips).softmax(1)[:, CLASS, INSIDE].mean(1).detach())


def test_the_scores_with_the_most_voxels_are_read() -> None:
    heads = [torch.rand(2, 3, *size) for size in ((2, 4, 4), (4, 8, 8))]
    assert torch.equal(pixel_reader(heads, 2)(heads, 2), heads[1])


@pytest.mark.parametrize("mask", [INSIDE[0], INSIDE[:4], INSIDE.expand(3, *SIZE)])
def test_masks_of_another_size_are_rejected(model: nn.Module, mask: Tensor) -> None:
    with pytest.raises(TargetError, match=r"output's size, \[8, 32, 32\] or \[2, 8, 32, 32\]"):
        xai.Engine(model).explain(two_clips(), "saliency", xai.Region(CLASS, mask))


def test_the_segments_of_a_volume_are_its_predicted_classes(model: nn.Module) -> None:
    classes = model(two_clips()).argmax(1)
    for found, each in zip(xai.Engine(model).segment(two_clips()), classes, strict=True):
        ids, counts = each.unique(return_counts=True)
        shares = dict(zip(ids.tolist(), (counts / each.numel()).tolist(), strict=True))
        assert {segment.label: segment.share for segment in found} == pytest.approx(shares)
