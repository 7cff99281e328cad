"""The rectangle of a photo that a model receives, compared with the arithmetic of torchvision's transforms."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from xai_core.errors import UnsuitableError
from xai_core.visualization.placement import Placement

NORMALIZED = v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def edges(placement: Placement) -> tuple[float, ...]:
    return placement.left, placement.top, placement.right, placement.bottom


def test_a_centered_crop_is_located() -> None:
    preprocess = v2.Compose([v2.Resize(256, antialias=True), v2.CenterCrop(224), NORMALIZED])
    width, height = 640, 480
    scale = 256 / height
    margin = 112 / scale
    expected = (width / 2 - margin, height / 2 - margin, width / 2 + margin, height / 2 + margin)
    assert edges(Placement.of(preprocess, width, height)) == pytest.approx(expected, abs=1.5)


def test_a_crop_at_any_place_is_located() -> None:
    preprocess = v2.Compose([v2.Lambda(lambda image: image[:, 30:94, 50:146]), v2.Resize((32, 48)), NORMALIZED])
    assert edges(Placement.of(preprocess, 200, 100)) == pytest.approx((50, 30, 146, 94), abs=0.5)


def test_a_photo_that_is_stretched_as_a_whole_is_located() -> None:
    assert edges(Placement.of(v2.Resize((64, 64)), 300, 100)) == pytest.approx((0, 0, 300, 100), abs=1)


@pytest.mark.parametrize("fill", [0.0, 0.5, 1.0])
def test_padding_exceeds_the_photo(fill: float) -> None:
    preprocess = v2.Compose([v2.Pad([0, 50, 0, 50], fill=fill), v2.Resize((64, 64)), NORMALIZED])
    assert edges(Placement.of(preprocess, 200, 100)) == pytest.approx((0, -50, 200, 150), abs=2)


@pytest.mark.parametrize(
    "preprocess",
    [
        v2.RandomHorizontalFlip(1),
        v2.RandomVerticalFlip(1),
        lambda image: image.transpose(1, 2),
        v2.RandomRotation([30, 30]),
    ],
    ids=["flip", "vertical-flip", "transposed", "rotated"],
)
def test_other_geometry_is_refused(preprocess: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(UnsuitableError, match="more than resize, crop and pad"):
        Placement.of(preprocess, 96, 96)


def test_a_map_is_placed_on_the_rectangle_and_is_zero_outside() -> None:
    placed = Placement(20, 10, 60, 30).place(np.ones((5, 10), np.float32), 100, 50)
    expected = np.zeros((50, 100))
    expected[10:30, 20:60] = 1
    assert np.array_equal(placed, expected)


def test_a_map_at_the_size_of_the_photo_is_unchanged() -> None:
    values = np.random.default_rng(0).random((30, 40), np.float32)
    assert np.array_equal(Placement(0, 0, 40, 30).place(values, 40, 30), values)


def test_a_map_is_resized_as_torch_does() -> None:
    values = torch.rand(7, 7, generator=torch.Generator().manual_seed(0))
    expected = torch.nn.functional.interpolate(values[None, None], (56, 84), mode="bilinear")[0, 0]
    placed = Placement(0, 0, 84, 56).place(values.numpy(), 84, 56)
    np.testing.assert_allclose(placed, expected.numpy(), atol=1e-5)


def test_what_exceeds_the_photo_is_left_out() -> None:
    values = np.zeros((4, 4), np.float32)
    values[1:3] = 1  # the middle half of the rows lies on the photo
    placed = Placement(0, -50, 200, 150).place(values, 200, 100)
    assert placed[40:60].min() == 1
    assert placed.shape == (100, 200)
