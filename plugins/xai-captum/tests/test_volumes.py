"""Methods of captum on volumes equal captum itself and plain autograd."""

from typing import Any

import pytest
import torch
from captum import attr
from torch import Tensor

import xai_core as xai
from support.volume_models import SIZE, PlainCNN3d, built, two_clips

CLASS = 2


def ours(spec: str, clips: Tensor) -> Tensor:
    [maps] = xai.Engine(built(PlainCNN3d)).explain(clips, spec, CLASS).values()
    return maps.raw


def test_saliency_equals_plain_autograd() -> None:
    clips = two_clips().requires_grad_()
    (gradient,) = torch.autograd.grad(built(PlainCNN3d)(clips)[:, CLASS].sum(), clips)
    torch.testing.assert_close(ours("saliency", clips), gradient.abs().sum(1))
    torch.testing.assert_close(ours("input-x-gradient:channels=sum", clips), (gradient * clips).sum(1).detach())


METHODS: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "integrated gradients": ("integrated-gradients:n_steps=8", attr.IntegratedGradients, {"n_steps": 8}),
    "deep lift": ("deep-lift", attr.DeepLift, {}),
    "guided backprop": ("guided-backprop:channels=sum", attr.GuidedBackprop, {}),
    "deconvolution": ("deconvolution:channels=sum", attr.Deconvolution, {}),
    "occlusion": (
        "captum-occlusion:sliding_window_shapes=8,strides=8",
        attr.Occlusion,
        {"sliding_window_shapes": (3, 8, 8, 8), "strides": (3, 8, 8, 8)},
    ),
}


@pytest.mark.filterwarnings("ignore::UserWarning:captum")
@pytest.mark.parametrize(("spec", "method", "options"), METHODS.values(), ids=METHODS)
def test_maps_equal_captum(spec: str, method: Any, options: dict[str, Any]) -> None:
    clips = two_clips().requires_grad_()
    expected = method(built(PlainCNN3d)).attribute(clips, target=CLASS, **options).detach()
    expected = expected[:, 0].relu() if method is attr.Occlusion else expected.sum(1)
    if "channels=sum" not in spec:
        expected = expected.relu()
    torch.testing.assert_close(ours(spec, clips.detach()), expected, rtol=1e-4, atol=1e-6)


def test_feature_ablation_equals_a_loop_over_cubes() -> None:
    model, clips = built(PlainCNN3d), two_clips()[:1]
    expected = torch.zeros(1, *SIZE)
    for z in range(0, 8, 4):
        for y in range(0, 32, 4):
            for x in range(0, 32, 4):
                cube = (slice(z, z + 4), slice(y, y + 4), slice(x, x + 4))
                hidden = clips.clone()
                hidden[(0, slice(None), *cube)] = 0
                expected[(0, *cube)] = (model(clips) - model(hidden))[0, CLASS].item()
    result = ours("feature-ablation:patch=4,channels=sum", clips)
    torch.testing.assert_close(result, expected, rtol=1e-3, atol=1e-6)


def test_the_depth_of_patches_is_at_most_the_depth_of_the_volume() -> None:
    maps = ours("feature-ablation:patch=16,channels=sum", two_clips())
    assert maps.flatten(1).unique(dim=1).shape[1] <= 4
    torch.testing.assert_close(maps, maps[:, :1].expand_as(maps))


@pytest.mark.parametrize(
    "spec", ["guided-grad-cam", "layer-conductance:n_steps=4", "layer-integrated-gradients:n_steps=4", "smooth-grad"]
)
def test_other_methods_return_maps_of_volumes(spec: str) -> None:
    maps = ours(spec, two_clips())
    assert maps.shape[1:] in (SIZE, (4, 16, 16))
    assert maps.flatten(1).std(1).gt(0).all()
