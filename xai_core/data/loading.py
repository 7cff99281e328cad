"""Image files as the input of a model."""

import os
from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from xai_core.data.images import as_rgb, open_image
from xai_core.data.sources import LoadedModel
from xai_core.errors import InputShapeError, InputTypeError

ImageLike = str | os.PathLike[str] | Image | Tensor


def load_image(image: ImageLike | Sequence[ImageLike], loaded: LoadedModel) -> Float[Tensor, "B C h w"]:
    """Return an image, or several, as a batch that `Engine.explain` takes.

    Parameters
    ----------
    image
        The path of an image file, a PIL image, a tensor [C,H,W] in [0,1], or several of them. Files and PIL images are
        converted to RGB and rotated upright.
    loaded
        The model whose `preprocess` is applied.

    Returns
    -------
    Tensor
        [B,C,h,w], with B=1 for a single image.

    Raises
    ------
    FileError
        If a file does not exist or is not an image.
    InputShapeError
        If a tensor is not floating-point [C,H,W].
    InputTypeError
        If `loaded` is not a `LoadedModel`, or an image has another type.
    """
    if not isinstance(loaded, LoadedModel):
        raise InputTypeError(
            f"expected a LoadedModel, which has the preprocessing, got {type(loaded).__name__}; use "
            "`load_model(...)`, or create one with `LoadedModel(model, preprocess)`"
        )
    return torch.stack([loaded.preprocess(_opened(each)) for each in _listed(image)])


def _listed(image: ImageLike | Sequence[ImageLike]) -> list[ImageLike]:
    if isinstance(image, Tensor):
        return [*image] if image.ndim == 4 else [image]
    return [image] if isinstance(image, str | os.PathLike | Image) else [*image]


def _opened(image: object) -> Image | Tensor:
    if isinstance(image, Tensor):
        if image.ndim != 3 or not image.is_floating_point():
            raise InputShapeError(f"expected a floating-point tensor [C,H,W] in [0,1], got {list(image.shape)}")
        return image
    if isinstance(image, Image):
        return as_rgb(image)
    if isinstance(image, str | os.PathLike):
        return open_image(image)
    raise InputTypeError(
        f"expected the path of an image file, a PIL image or a tensor [C,H,W], got {type(image).__name__}"
    )
