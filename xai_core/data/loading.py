"""Image files as the input of a model."""

import os
from collections.abc import Sequence

import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from xai_core.data.images import as_rgb, open_image
from xai_core.data.sources import LoadedModel
from xai_core.errors import InputTypeError

ImageLike = str | os.PathLike[str] | Image


def load_image(image: ImageLike | Sequence[ImageLike], loaded: LoadedModel) -> Float[Tensor, "B C h w"]:
    """Return an image, or several, as a batch that `Engine.explain` takes.

    Parameters
    ----------
    image
        The path of an image file, a PIL image, or several of them. The image is converted to RGB and rotated upright.
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
    InputTypeError
        If `loaded` is not a `LoadedModel`, or an image is neither a path nor a PIL image.
    """
    if not isinstance(loaded, LoadedModel):
        raise InputTypeError(
            f"expected a LoadedModel, which has the preprocessing, got {type(loaded).__name__}; use "
            "`load_model(...)`, or create one with `LoadedModel(model, preprocess)`"
        )
    images = [image] if isinstance(image, str | os.PathLike | Image) else [*image]
    return torch.stack([loaded.preprocess(_opened(each)) for each in images])


def _opened(image: object) -> Image:
    if isinstance(image, Image):
        return as_rgb(image)
    if isinstance(image, str | os.PathLike):
        return open_image(image)
    raise InputTypeError(f"expected the path of an image file or a PIL image, got {type(image).__name__}")
