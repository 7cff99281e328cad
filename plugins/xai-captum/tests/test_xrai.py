"""XRAI against a replica that counts the pixels of every region again after each choice."""

import numpy as np
import pytest
import torch
from scipy.ndimage import binary_dilation
from skimage.segmentation import felzenszwalb
from torch import Tensor, nn

import xai_core as xai
from support.models import Linear, SmallCNN, fused_vit, settled
from support.observing import given_to
from support.volume_models import PlainCNN3d, built, two_clips
from xai_captum.regions import dilated
from xai_captum.xrai import XRAI, gains
from xai_core.errors import OptionError

CLASS = 2
BASE = "integrated-gradients:n_steps=4,channels=sum"


def replica(attribution: np.ndarray, masks: list[np.ndarray], min_pixels: int) -> np.ndarray:
    chosen, result = np.zeros_like(attribution, bool), np.zeros_like(attribution)
    while True:
        added = [mask & ~chosen for mask in masks]
        added = [new for new in added if new.sum() >= min_pixels]
        if not added:
            break
        best = max(added, key=lambda new: attribution[new].mean())
        result[best] = attribution[best].mean()
        chosen |= best
    if not chosen.all():
        result[~chosen] = attribution[~chosen].mean()
    return result


def segments(image: np.ndarray, radius: int) -> list[np.ndarray]:
    """Dilated segments of an image that has the size of the segmentation."""
    image = 2 * (image - image.min()) / np.ptp(image) - 1
    offsets = np.arange(-radius, radius + 1)
    disk, masks = offsets**2 + offsets[:, None] ** 2 <= radius**2, []
    for scale in (50, 100, 150, 250, 500, 1200):
        labels = felzenszwalb(image.transpose(1, 2, 0), scale=scale, sigma=0.8, min_size=150)
        masks += [binary_dilation(labels == label, disk) for label in range(labels.max() + 1)]
    return masks


def explained(model: nn.Module, images: Tensor, explainer: str | xai.Explainer, **options: object) -> Tensor:
    [saliency] = xai.Engine(model, **options).explain(images, explainer, CLASS).values()
    return saliency.raw


def test_equals_its_replica() -> None:
    model, images = settled(SmallCNN()), torch.rand(2, 3, 64, 64)
    images[:, :, 10:30, 20:50] += 2
    images[:, 1, 40:, :25] -= 1
    ours = explained(model, images, f"xrai({BASE}):size=64,dilation=2,min_pixels=20")
    attributions = explained(model, images, BASE).double().numpy()
    for map_, image, attribution in zip(ours, images, attributions, strict=True):
        expected = replica(attribution, segments(image.numpy(), 2), 20)
        assert len(np.unique(expected)) > 3
        np.testing.assert_allclose(map_, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("min_pixels", [1, 5, 30])
def test_gains_of_regions_that_overlap(min_pixels: int) -> None:
    generator = np.random.default_rng(0)
    attribution, masks = generator.normal(size=(9, 11)), generator.random((20, 9, 11)) < 0.3
    ours = gains(torch.from_numpy(attribution), torch.from_numpy(masks), min_pixels)
    np.testing.assert_allclose(ours, replica(attribution, list(masks), min_pixels))


def test_no_region_is_large_enough() -> None:
    attribution = torch.randn(4, 4).double()
    ours = gains(attribution, torch.ones(1, 4, 4, dtype=torch.bool), 17)
    torch.testing.assert_close(ours, attribution.mean().expand(4, 4))


def test_the_region_that_the_score_sees_ranks_first() -> None:
    model, images = Linear((64, 64), classes=5), torch.zeros(1, 3, 64, 64)
    with torch.no_grad():
        model.weight.zero_()
        model.weight[CLASS, :, 8:32, 8:32] = 1
    images[:, :, 8:32, 8:32] = 1
    images[:, :, 40:60, 40:60] = 0.5
    ours = explained(model, images, "xrai:size=64,dilation=0")[0]
    assert torch.equal(ours == ours.max(), model.weight[CLASS, 0] == 1)


def test_the_default_is_the_mean_over_two_baselines(images: Tensor) -> None:
    model = settled(fused_vit())
    bounds = (images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True))
    bases = [xai.create_explainer("integrated-gradients", baselines=bound, channels="sum") for bound in bounds]
    torch.testing.assert_close(explained(model, images, "xrai:size=64"), explained(model, images, XRAI(bases, size=64)))


@pytest.mark.parametrize("size", [(32, 32), (24, 40)], ids=["square", "oblong"])
def test_maps_of_a_layer_are_resized(size: tuple[int, int]) -> None:
    model, images = settled(SmallCNN()), torch.randn(2, 3, *size)
    ours = explained(model, images, "xrai(grad-cam):size=64,dilation=1,min_pixels=8")
    assert ours.shape == (2, *size)


def test_forwards_are_those_of_the_explainers(images: Tensor) -> None:
    model = settled(SmallCNN())
    engine, method = xai.Engine(model), xai.create_explainer(f"xrai({BASE},saliency):size=32")
    told = method.forward_passes(engine.adapter(images[:1]))
    with given_to(model) as batches:
        engine.explain(images[:1], method, CLASS)
    assert told == sum(map(len, batches)) == 5


@pytest.mark.parametrize("radius", [0, 1, 5])
def test_masks_are_dilated_by_a_disk(radius: int) -> None:
    masks = np.random.default_rng(0).random((3, 20, 30)) < 0.02
    offsets = np.arange(-radius, radius + 1)
    disk = offsets**2 + offsets[:, None] ** 2 <= radius**2
    expected = np.stack([binary_dilation(mask, disk) for mask in masks])
    np.testing.assert_array_equal(dilated(torch.from_numpy(masks), radius), expected)


def test_volumes_have_no_segments() -> None:
    with pytest.raises(xai.XAIError):
        explained(built(PlainCNN3d), two_clips(), "xrai(saliency)")


@pytest.mark.parametrize("options", ["size=4", "dilation=-1", "min_pixels=0"])
def test_options_that_make_no_sense_are_errors(options: str) -> None:
    with pytest.raises(OptionError, match="must be"):
        xai.create_explainer(f"xrai:{options}")
    with pytest.raises(OptionError, match="at least one explainer"):
        XRAI([])
