"""CAMs against torchcam's, where those are right, and by how much they differ where not."""

import logging

import pytest
import torch
from torch import Tensor, nn
from torchcam import methods

import xai_core as xai
from support.models import SmallCNN, settled
from xai_core.plugin import normalize

THEIRS = {
    "cam": "CAM",
    "grad-cam": "GradCAM",
    "xgrad-cam": "XGradCAM",
    "layer-cam": "LayerCAM",
    "grad-cam++": "GradCAMpp",
}


@pytest.fixture
def model() -> nn.Module:
    model = settled(SmallCNN())
    for module in model.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    return model


def both(model: nn.Module, images: Tensor, method: str) -> tuple[Tensor, Tensor]:
    """Our map and torchcam's, min-max normalized at the layer's size."""
    name = THEIRS[method]
    options = {"fc_layer": "head"} if name == "CAM" else {}
    with getattr(methods, name)(model, "last", **options) as cam:
        scores = model(images)
        classes = scores.argmax(1).tolist()
        (theirs,) = cam(classes) if name == "CAM" else cam(classes, scores)
    ours = xai.Engine(model).explain(images, method)[method].raw
    return normalize(ours), normalize(theirs.detach())


@pytest.mark.parametrize("method", ["cam", "grad-cam", "xgrad-cam", "layer-cam"])
def test_equals_torchcam(model: nn.Module, images: Tensor, method: str) -> None:
    logging.disable(logging.WARNING)
    ours, theirs = both(model, images, method)
    assert ours.amax() == 1
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_torchcams_grad_cam_plus_plus_is_not_that_of_the_paper(model: nn.Module, images: Tensor) -> None:
    """It divides a copy of its alpha, so that its weights are sums of cubed gradients; ours is held to eq. 19."""
    ours, theirs = both(model, images, "grad-cam++")
    assert (ours - theirs).abs().amax() > 0.01
