"""Preprocessing: images and tensors alike, undone by `restore`, and rejected inputs."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import xai_core as xai
from xai_core.errors import (
    InputShapeError,
    InputTypeError,
)

SOURCES = ["torchvision:resnet18,weights=none", "timm:resnet18,pretrained=false", "efficientnet-lite0"]


@pytest.mark.parametrize("spec", SOURCES)
def test_a_picture_and_its_tensor_are_preprocessed_alike_and_restored(spec: str) -> None:
    loaded = xai.load_model(spec)
    [sample] = xai.load_dataset("photos:chelsea")
    assert isinstance(sample.image, Image.Image)
    tensor = torch.from_numpy(np.array(sample.image)).permute(2, 0, 1) / 255
    ours, from_tensor = loaded.preprocess(sample.image), loaded.preprocess(tensor)
    assert type(ours) is type(from_tensor) is Tensor
    assert ours.dtype == from_tensor.dtype == torch.float32
    assert ours.shape == from_tensor.shape == (3, 224, 224)
    torch.testing.assert_close(ours, from_tensor, atol=0.06, rtol=0)
    assert loaded.restore is not None
    seen = loaded.restore(ours)
    assert seen.min() >= 0
    assert seen.max() <= 1
    torch.testing.assert_close(seen.mean((1, 2)), tensor.mean((1, 2)), atol=0.1, rtol=0)
    torch.testing.assert_close(loaded.restore(ours[None].expand(2, -1, -1, -1))[1], seen)


@pytest.mark.parametrize("spec", SOURCES)
@pytest.mark.parametrize("value", [0.25, 1.0])
def test_restore_undoes_the_normalization(spec: str, value: float) -> None:
    loaded = xai.load_model(spec)
    assert loaded.restore is not None
    flat = torch.full((3, 256, 256), value)
    torch.testing.assert_close(loaded.restore(loaded.preprocess(flat)), flat[:, :224, :224])


def test_lite0_is_normalized_as_the_original(lite0: xai.LoadedModel) -> None:
    white = lite0.preprocess(Image.new("RGB", (300, 300), "white"))
    torch.testing.assert_close(white, torch.full((3, 224, 224), (255 - 127) / 128))


@pytest.mark.parametrize(
    "image", [torch.zeros(3, 8, 8, dtype=torch.uint8), np.zeros((8, 8, 3))], ids=["bytes", "numpy"]
)
def test_other_inputs_are_refused(lite0: xai.LoadedModel, image: object) -> None:
    with pytest.raises(InputTypeError, match=r"\[0,1\]"):
        lite0.preprocess(image)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(4, 8, 8), (1, 3, 8, 8), (8, 8), (3, 0, 8)])
def test_other_shapes_are_refused(lite0: xai.LoadedModel, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputShapeError, match="C,H,W"):
        lite0.preprocess(torch.zeros(shape))


def test_one_pixel_is_enough(lite0: xai.LoadedModel) -> None:
    assert lite0.preprocess(Image.new("RGB", (1, 1), "white")).unique().numel() == 1


def test_a_grey_tensor_is_taken_as_grey_color(lite0: xai.LoadedModel) -> None:
    gray = torch.rand(1, 64, 64)
    assert torch.equal(lite0.preprocess(gray), lite0.preprocess(gray.expand(3, -1, -1)))


def test_preprocessing_travels_to_other_processes(lite0: xai.LoadedModel, picture: Image.Image) -> None:
    preprocess, restore = pickle.loads(pickle.dumps((lite0.preprocess, lite0.restore)))
    assert torch.equal(preprocess(picture), lite0.preprocess(picture))
    assert restore == lite0.restore
