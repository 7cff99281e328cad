"""Seg-Grad-CAM and Seg-XRes-CAM against replicas in float64, and against the methods that they contain."""

import copy

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.measure import block_reduce
from torch import Tensor, nn

import xai_core as xai
from xai_cam.seg_xres_cam import pooled
from xai_core.errors import OptionError

Array = NDArray[np.float64]
IMAGES = torch.randn(2, 3, 32, 24, generator=torch.Generator().manual_seed(3))
MASK = torch.rand(2, 32, 24, generator=torch.Generator().manual_seed(4)) > 0.6
REGION = xai.Region(2, MASK)


class Segmenter(nn.Module):
    """Features [B,6,8,6], a nonlinear decoder, and scores of four classes for each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.Tanh())
        self.decoder = nn.Sequential(nn.ConvTranspose2d(6, 8, 4, 4), nn.GELU(), nn.Conv2d(8, 4, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.decoder(self.features(images))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return Segmenter().eval()


def explained(model: nn.Module, method: str, region: xai.Region = REGION) -> Tensor:
    explainer = xai.create_explainer(method, layer="features")
    [saliency] = xai.Engine(model).explain(IMAGES, [explainer], region).values()
    return saliency.raw


def by_hand(model: nn.Module) -> tuple[Array, Array]:
    """The activation and the gradient of the sum over the region, in float64."""
    model = copy.deepcopy(model).double()
    features = model.features(IMAGES.double()).detach().requires_grad_()
    total = (model.decoder(features)[:, 2] * MASK).sum()
    (gradient,) = torch.autograd.grad(total, features)
    return features.detach().numpy(), gradient.numpy()


def assert_same(raw: Tensor, summed: Array) -> None:
    """Compare a map with one of the sum over the region, which is a multiple of the mean."""
    expected = np.maximum(summed, 0) / MASK.sum((1, 2)).numpy()[:, None, None]
    torch.testing.assert_close(raw.double(), torch.from_numpy(expected), rtol=1e-4, atol=1e-8)


def test_seg_grad_cam_weights_channels_by_their_mean_gradient(model: nn.Module) -> None:
    activation, gradient = by_hand(model)
    assert_same(explained(model, "seg-grad-cam"), np.einsum("bk,bkij->bij", gradient.mean((2, 3)), activation))


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("window", [1, 2])
def test_seg_xres_cam_pools_the_gradient_as_its_authors_do(model: nn.Module, window: int, pooling: str) -> None:
    activation, gradient = by_hand(model)
    coarse = block_reduce(gradient, (1, 1, window, window), getattr(np, pooling))
    enlarged = np.kron(coarse, np.ones((window, window)))
    assert_same(explained(model, f"seg-xres-cam:window={window},pooling={pooling}"), (enlarged * activation).sum(1))


@pytest.mark.parametrize("pooling", ["mean", "max"])
@pytest.mark.parametrize("window", [3, 5, 7])
def test_windows_at_the_border_contain_the_cells_of_the_map_only(model: nn.Module, window: int, pooling: str) -> None:
    activation, gradient = by_hand(model)
    pooled = np.empty_like(gradient)
    for top in range(0, 8, window):
        for left in range(0, 6, window):
            cells = (..., slice(top, top + window), slice(left, left + window))
            pooled[cells] = getattr(np, pooling)(gradient[cells], (2, 3), keepdims=True)
    assert_same(explained(model, f"seg-xres-cam:window={window},pooling={pooling}"), (pooled * activation).sum(1))


@pytest.mark.parametrize(
    ("method", "other"),
    [
        ("seg-grad-cam", "grad-cam"),
        ("seg-xres-cam:window=1", "hires-cam"),
        ("seg-xres-cam:window=8", "seg-grad-cam"),
        ("seg-xres-cam:window=100", "seg-grad-cam"),
    ],
)
def test_methods_that_are_equal(model: nn.Module, method: str, other: str) -> None:
    torch.testing.assert_close(explained(model, method), explained(model, other))


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_windows_of_volumes_are_cubes(pooling: str) -> None:
    maps = torch.randn(2, 3, 4, 8, 6, dtype=torch.float64)
    coarse = block_reduce(maps.numpy(), (1, 1, 2, 2, 2), getattr(np, pooling))
    torch.testing.assert_close(pooled(maps, 2, pooling), torch.from_numpy(np.kron(coarse, np.ones((2, 2, 2)))))


def test_bad_options() -> None:
    with pytest.raises(OptionError, match="window must be"):
        xai.create_explainer("seg-xres-cam:window=0")
    with pytest.raises(OptionError, match="pooling must be one of mean, max, got 'min'"):
        xai.create_explainer("seg-xres-cam:pooling=min")
