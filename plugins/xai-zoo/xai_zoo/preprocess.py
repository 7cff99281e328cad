"""Conversion between images and model inputs, in both directions."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from xai_core.plugin import InputShapeError, InputTypeError, as_rgb

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Preprocess:
    """Converts a PIL image of any mode, or a [C,H,W] tensor in [0,1], to three channels and applies `transform`."""

    transform: Callable[[Any], Tensor]

    def __call__(self, image: "Image | Tensor") -> Float[Tensor, "C h w"]:
        return self.transform(_three_channels(image) if isinstance(image, Tensor) else as_rgb(_pil(image)))


@dataclass(frozen=True)
class Restore:
    """The inverse of a normalization by `mean` and `std`, one per channel: [...,C,h,w] -> [0,1]."""

    mean: Sequence[float]
    std: Sequence[float]

    def __call__(self, images: Float[Tensor, "*B C h w"]) -> Float[Tensor, "*B C h w"]:
        mean = [-mean / std for mean, std in zip(self.mean, self.std, strict=True)]
        return _v2().functional.normalize(images, mean, [1 / std for std in self.std]).clamp(0, 1)


@dataclass(frozen=True)
class Cover:
    """Resizes an image (bilinear), with its aspect ratio, to the smallest size that covers height x width."""

    height: int
    width: int

    def __call__(self, image: "Image | Tensor") -> "Image | Tensor":
        height, width = image.shape[-2:] if isinstance(image, Tensor) else (image.height, image.width)
        if height * self.width <= width * self.height:
            size = [self.height, max(self.width, int(self.height * width / height))]
        else:
            size = [max(self.height, int(self.width * height / width)), self.width]
        resized: Image | Tensor = _v2().functional.resize(image, size)
        return resized


def resize_and_crop(
    resize: int | tuple[int, int], crop: int | tuple[int, int], mean: Sequence[float], std: Sequence[float]
) -> Callable[["Image | Tensor"], Tensor]:
    """Return the usual transform: resize (bilinear), crop the center, normalize.

    Parameters
    ----------
    resize
        The length of the shorter side, or the height and width that the resized image covers.
    crop
        The side of a square, or the height and width.
    mean, std
        One number per channel.
    """
    v2 = _v2()
    return v2.Compose(
        [
            v2.Resize(resize) if isinstance(resize, int) else Cover(*resize),
            v2.CenterCrop(crop),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(mean), list(std)),
            v2.ToPureTensor(),
        ]
    )


def to_grayscale(transform: Callable[[Any], Tensor]) -> Callable[["Image | Tensor"], Tensor]:
    """Return a transform that converts images to grayscale first."""
    return _v2().Compose([_v2().Grayscale(), transform])


def _v2() -> ModuleType:
    from torchvision.transforms import v2

    return v2


def _three_channels(image: Tensor) -> Float[Tensor, "3 H W"]:
    if not image.is_floating_point():
        raise InputTypeError(f"expected a floating-point image in [0,1], got {image.dtype}; divide uint8 values by 255")
    if image.ndim != 3 or len(image) not in (1, 3) or 0 in image.shape:
        raise InputShapeError(f"expected one image [C,H,W] with 1 or 3 channels, got {list(image.shape)}")
    return image.float().expand(3, -1, -1)


def _pil(image: object) -> "Image":
    from PIL.Image import Image

    if not isinstance(image, Image):
        raise InputTypeError(f"expected a PIL image or a [C,H,W] tensor in [0,1], got {type(image).__name__}")
    return image
