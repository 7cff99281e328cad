"""`size`, `mean` and `std` of timm and torchvision, and the transform that they select."""

import pytest
import torch
from PIL import Image

import xai_core as xai
from support.pictures import predict
from xai_core.errors import OptionError
from xai_zoo.preprocess import resize_and_crop

RANDOM = "weights=none,num_classes=2"


@pytest.mark.parametrize(
    ("model", "size", "shape"),
    [
        ("timm:test_efficientnet", "64", (64, 64)),
        ("timm:test_efficientnet", "64x96", (64, 96)),
        ("timm:vit_tiny_patch16_224,depth=1", "64", (64, 64)),
        ("timm:vit_tiny_patch16_224,depth=1", "32x64", (32, 64)),
        ("torchvision:squeezenet1_1", "64", (64, 64)),
        ("torchvision:squeezenet1_1", "64x96", (64, 96)),
        ("torchvision:vit_b_32", "64", (64, 64)),
    ],
)
def test_the_size_of_images(model: str, size: str, shape: tuple[int, int], picture: Image.Image) -> None:
    loaded = xai.load_model(f"{model},{RANDOM},size={size}")
    assert loaded.preprocess(picture).shape == (3, *shape)
    assert predict(loaded, picture).shape == (2,)
    again = xai.load_model(loaded.spec)
    assert torch.equal(again.preprocess(picture), loaded.preprocess(picture))


@pytest.mark.parametrize("model", ["timm:test_efficientnet", "torchvision:squeezenet1_1"])
def test_the_normalization(model: str) -> None:
    loaded = xai.load_model(f"{model},{RANDOM},mean=0.5,std=0.5+0.25+0.125")
    pixels = loaded.preprocess(torch.ones(3, 300, 300))
    torch.testing.assert_close(pixels.mean((1, 2)), torch.tensor([1.0, 2.0, 4.0]))
    assert loaded.restore is not None
    torch.testing.assert_close(loaded.restore(pixels), torch.ones_like(pixels))
    assert torch.equal(xai.load_model(loaded.spec).preprocess(torch.ones(3, 300, 300)), pixels)
    with pytest.raises(OptionError, match="size must be a number of pixels"):
        xai.load_model(f"{model},{RANDOM},size=0")


@pytest.mark.parametrize("size", [(90, 120), (121, 77), (64, 64), (33, 500)])
@pytest.mark.parametrize("side", [32, 57])
def test_covering_a_square_is_resizing_the_shorter_side(size: tuple[int, int], side: int) -> None:
    image = torch.rand(3, *size, generator=torch.Generator().manual_seed(0))
    square, shorter = (resize_and_crop(resize, 24, (0.0,) * 3, (1.0,) * 3) for resize in ((side, side), side))
    assert torch.equal(square(image), shorter(image))
