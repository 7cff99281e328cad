"""Metrics on volumes equal loops, SciPy and their definitions."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

import xai_core as xai
from support.volume_models import SIZE, SmallCNN3d, built, two_clips
from xai_core.errors import InputShapeError, UnsuitableError

CLASS = 2


def maps_and_masks() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    masks = torch.zeros(2, *SIZE, dtype=torch.bool)
    masks[0, 1:4, 3:20, 5:9] = True
    masks[1, 5:, 10:31, 1:30] = True
    return torch.rand(2, *SIZE, generator=generator), masks


def scores(metrics: str) -> dict[str, xai.MetricResult]:
    maps, masks = maps_and_masks()
    engine, clips = xai.Engine(built(SmallCNN3d)), two_clips()
    saliency = engine.explain(clips, "random", CLASS)["random"]
    return engine.evaluate(clips, with_values(saliency, maps), metrics, masks)


def with_values(saliency: xai.Saliency, maps: Tensor) -> xai.Saliency:
    low, high = maps.amin((1, 2, 3), keepdim=True), maps.amax((1, 2, 3), keepdim=True)
    return xai.Saliency((maps - low) / (high - low), maps, saliency.constant, saliency.target)


def curve(start: Tensor, finish: Tensor) -> Tensor:
    """Replace 8 x 32 voxels of each clip per step, the most salient first."""
    maps, _ = maps_and_masks()
    model = built(SmallCNN3d)
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)

    def points() -> Iterator[Tensor]:
        for count in range(0, 8 * 32 * 32 + 1, 8 * 32):
            mixed = start.clone().flatten(2)
            for clip, other, first in zip(mixed, finish.flatten(2), order[:, :count], strict=True):
                clip[:, first] = other[:, first]
            yield model(mixed.view_as(start)).softmax(1)[:, CLASS].detach()

    return torch.stack([*points()], 1)


def test_deletion_and_insertion_equal_a_loop() -> None:
    clips = two_clips()
    found = scores("deletion, insertion")
    blurred = torch.from_numpy(blur_by_scipy(clips))
    for name, (start, finish) in {
        "deletion": (clips, torch.zeros_like(clips)),
        "insertion": (blurred, clips),
    }.items():
        expected = curve(start, finish)
        torch.testing.assert_close(found[name].curve, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(found[name].values, torch.trapezoid(expected, dx=1 / 32), rtol=1e-4, atol=1e-5)


def blur_by_scipy(clips: Tensor) -> np.ndarray:
    """RISE's kernel along each axis: a unit impulse of 11 pixels, smoothed by a Gaussian with sigma 5."""
    impulse = np.zeros(11)
    impulse[5] = 1
    kernel = ndimage.gaussian_filter1d(impulse, 5.0)
    blurred = clips.numpy().astype(np.float64)
    for axis in (2, 3, 4):
        blurred = ndimage.convolve1d(blurred, kernel, axis, mode="constant")
    return blurred.astype(np.float32)


def test_localization_equals_its_definition() -> None:
    maps, masks = maps_and_masks()
    found = scores("iou, pointing-game:tolerance=3, relevance-mass, relevance-rank, energy-pointing-game")
    for index, (map_, mask) in enumerate(zip(maps, masks, strict=True)):
        best = max(((map_ >= t) & mask).sum() / ((map_ >= t) | mask).sum() for t in map_.flatten().unique())
        assert found["iou"].values[index].item() == pytest.approx(best.item())
        peak = map_.flatten().argmax().item()
        distance = ndimage.distance_transform_edt(~mask.numpy()).flatten()[peak]
        assert found["pointing-game:tolerance=3"].values[index].item() == float(distance <= 3)
        assert found["relevance-mass"].values[index].item() == pytest.approx((map_[mask].sum() / map_.sum()).item())
        top = map_.flatten().argsort(descending=True)[: mask.sum()]
        assert found["relevance-rank"].values[index].item() == pytest.approx(mask.flatten()[top].float().mean().item())


@pytest.mark.parametrize("tolerance", [1, 2.5, 4])
def test_masks_are_dilated_by_a_ball(tolerance: float) -> None:
    from xai_faithfulness.localization.pointing_game import dilated

    _, masks = maps_and_masks()
    for mask, result in zip(masks, dilated(masks, tolerance), strict=True):
        assert torch.equal(result, torch.from_numpy(ndimage.distance_transform_edt(~mask.numpy()) <= tolerance))


def test_cubes_are_cut_off_at_the_depth() -> None:
    from xai_faithfulness.regions import expand_to_pixels, region_means

    maps, _ = maps_and_masks()
    means = region_means(maps, 9)
    assert means.shape == (2, 1, 4, 4)
    assert means[0, 0, 3, 0].item() == pytest.approx(maps[0, :, 27:, :9].mean().item())
    assert torch.equal(expand_to_pixels(means, 9, SIZE)[0, 5, :9, 27:], means[0, 0, 0, 3].expand(9, 5))


def test_metrics_of_images_alone_are_rejected() -> None:
    for name in ("road", "irof", "infidelity", "parameter-randomization", "max-sensitivity"):
        with pytest.raises(UnsuitableError, match=r"is defined for images \[B,C,H,W\] only"):
            scores(name)


def test_masks_and_maps_of_another_size_are_rejected() -> None:
    engine, clips = xai.Engine(built(SmallCNN3d)), two_clips()
    maps, masks = maps_and_masks()
    with pytest.raises(InputShapeError, match=r"masks must be bool \[2, 8, 32, 32\]"):
        engine.evaluate(clips, maps, "iou", masks[:, 0])
    with pytest.raises(InputShapeError, match=r"floating-point relevance \[B,d,h,w\]"):
        engine.evaluate(clips, maps[:, 0], "deletion")
