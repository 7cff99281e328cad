"""Data sets of (image, target) pairs are taken as data sets of samples."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

import xai_core as xai
from xai_core.errors import InputRangeError, InputShapeError, InputTypeError
from xai_core.plugin import Dataset as Samples

PIXELS = torch.arange(2 * 3 * 3).reshape(2, 3, 3).byte()  # [H,W,C]
EXPECTED = PIXELS.movedim(-1, 0) / 255


class Items(Dataset[Any]):
    def __init__(self, *items: object) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> object:
        return self.items[index]


@pytest.mark.parametrize(
    "image",
    [PIXELS.numpy(), PIXELS.movedim(-1, 0), EXPECTED, EXPECTED.movedim(0, -1).numpy(), EXPECTED.double()],
    ids=["bytes", "byte tensor", "tensor", "array", "double"],
)
@pytest.mark.parametrize("target", [4, np.int64(4), torch.tensor(4), np.array(4)])
def test_images_and_targets_of_every_kind(image: object, target: object) -> None:
    sample = xai.as_dataset(Items((image, target)))[0]
    assert isinstance(sample.image, Tensor)
    torch.testing.assert_close(sample.image, EXPECTED, check_dtype=False)
    assert (sample.id, sample.target, type(sample.target)) == ("0", 4, int)


def test_grey_arrays_and_pictures() -> None:
    data = xai.as_dataset([(PIXELS[..., 0].numpy(), None), (Image.new("L", (3, 2)), 1)])
    assert isinstance(data, Samples)
    assert data[0].image.shape == (1, 2, 3)  # type: ignore[union-attr]
    assert data[0].target is None
    assert data[-1].id == "1"
    assert isinstance(data[1].image, Image.Image)
    assert [sample.id for sample in data] == ["0", "1"]  # type: ignore[attr-defined]


def test_torchvisions_data_sets(tmp_path: Path) -> None:
    from torchvision.datasets import FakeData, ImageFolder

    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (5, 4)).save(tmp_path / name / "a.png")
    folder = xai.as_dataset(ImageFolder(tmp_path))
    assert folder.class_names == ["cat", "dog"]  # type: ignore[attr-defined]
    assert [(sample.target, sample.image.size) for sample in map(folder.__getitem__, range(2))] == [
        (0, (5, 4)),
        (1, (5, 4)),
    ]
    fake = xai.as_dataset(Subset(FakeData(4, (3, 8, 8), num_classes=3), [2, 3]))
    assert len(fake) == 2
    assert fake.class_names is None  # type: ignore[attr-defined]
    assert xai.as_dataset(TensorDataset(EXPECTED[None], torch.tensor([2])))[0].target == 2


def test_samples_stay_and_nothing_is_read_before_it_is_asked_for() -> None:
    shapes = xai.load_dataset("shapes:count=2")
    taken = xai.as_dataset(shapes)
    assert taken[1].id == shapes[1].id
    assert taken[1].mask is not None
    assert taken.class_names == list(shapes.class_names)  # type: ignore[attr-defined]
    assert xai.as_dataset(taken) is taken

    class Unread(Items):
        def __getitem__(self, index: int) -> object:
            pytest.fail("it was read")

    assert len(xai.as_dataset(Unread(1, 2))) == 2


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return iter(())


@pytest.mark.parametrize("given", [Stream(), 3, None, {"a": 1}, "photos", EXPECTED, iter([1]), np.zeros(3)])
def test_what_is_no_dataset_is_rejected(given: object) -> None:
    with pytest.raises(InputTypeError, match=r"expected a map-style dataset of \(image, target\) pairs"):
        xai.as_dataset(given)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        (EXPECTED, r"item 0 is a Tensor of torch.float32 \[3, 2, 3\]; expected a map-style"),
        ({"image": EXPECTED, "label": 1}, "item 0 is of type dict"),
        ((EXPECTED, 1, 2), "item 0 is a tuple of 3"),
        (("a.png", 1), "image of item 0 is of type str; expected a PIL image"),
        ((EXPECTED * 300, 1), r"has values from 0 to 20; expected \[0,1\]: omit the normalization"),
        ((EXPECTED - 1, 1), r"has values from -1 to -0.933; expected"),
        ((EXPECTED * float("nan"), 1), r"expected \[0,1\]"),
        ((EXPECTED.long(), 1), r"torch.int64; expected 8-bit integers, or floats in \[0,1\]"),
        ((EXPECTED, "cat"), "target of item 0 is of type str; expected a class id"),
        ((EXPECTED, 0.5), "target of item 0 is of type float"),
        ((EXPECTED, True), "target of item 0 is of type bool"),
        ((EXPECTED, torch.tensor([0, 1])), r"target of item 0 is a Tensor of torch.int64 \[2\]"),
    ],
)
def test_items_of_another_kind_are_refused(item: object, reason: str) -> None:
    data = xai.as_dataset(Items(item))
    with pytest.raises((InputTypeError, InputRangeError), match=reason) as raised:
        data[0]
    assert isinstance(raised.value, InputRangeError) == ("values from" in str(raised.value))


@pytest.mark.parametrize(
    "image", [EXPECTED[None], EXPECTED[0], EXPECTED[:, :0], np.zeros((3, 4, 4)), torch.ones(4, 2, 2)]
)
def test_images_of_another_shape_are_refused(image: object) -> None:
    with pytest.raises(
        InputShapeError, match=r"image of item 0 is \[.*expected a tensor \[C,H,W\] or an array \[H,W,C\]"
    ):
        xai.as_dataset(Items((image, 0)))[0]
