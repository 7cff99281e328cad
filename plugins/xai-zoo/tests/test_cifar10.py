"""CIFAR-10 from the files that torchvision downloads."""

from pathlib import Path

import pytest
from PIL import Image

import xai_core as xai
from xai_core.errors import FileError, OptionError


def test_cifar10_is_torchvisions(cifar10: Path) -> None:
    train, test = xai.load_dataset(f"cifar10:{cifar10},split=train"), xai.load_dataset("cifar10", path=cifar10)
    assert (len(train), len(test)) == (15, 2)
    sample = train[4]
    assert (sample.id, sample.target) == ("train-4", 2)
    assert isinstance(sample.image, Image.Image)
    assert sample.image.getpixel((3, 5)) == (2, 2, 2)
    assert test[-1].id == "test-1"
    assert test.class_names[:2] == ("airplane", "automobile")  # type: ignore[attr-defined]
    with pytest.raises(IndexError):
        test[2]


def test_cifar10_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"cifar-10-batches-py.*download=True"):
        xai.load_dataset(f"cifar10:{tmp_path}")
    with pytest.raises(OptionError, match="split must be one of train, test, got 'validation'"):
        xai.load_dataset(f"cifar10:{tmp_path},split=validation")
    with pytest.raises(OptionError, match="cifar10:FOLDER"):
        xai.load_dataset("cifar10")
