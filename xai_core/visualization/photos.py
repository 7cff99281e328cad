"""Images as people see them: photos that users pass, and what a model receives."""

import os
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from xai_core.data.images import as_rgb, open_image
from xai_core.data.pixels import to_pil
from xai_core.errors import InputRangeError, InputShapeError, InputTypeError
from xai_core.normalization import normalize

Photo = Image.Image | str | os.PathLike[str] | np.ndarray | Tensor
"""A PIL image, the path of an image file, an array [H,W,3] or [H,W], or a tensor [C,H,W], 8-bit or in [0,1]."""
_TOLERANCE = 1e-3


def as_photo(photo: object) -> Image.Image:
    """Return a photo that a user passed as an RGB image of Pillow.

    Raises
    ------
    InputTypeError
        If it is not a `Photo`.
    InputShapeError
        If an array is not [H,W] or [H,W,3], or a tensor is not [C,H,W] with 1 or 3 channels.
    InputRangeError
        If floating-point values are outside of [0,1].
    FileError
        If a file does not exist or is not an image.
    """
    if isinstance(photo, Image.Image):
        return as_rgb(photo)
    if isinstance(photo, str | os.PathLike):
        return open_image(photo)
    if isinstance(photo, Tensor):
        if photo.ndim != 3 or len(photo) not in (1, 3):
            raise InputShapeError(f"expected a photo as a tensor [C,H,W] with 1 or 3 channels, got {list(photo.shape)}")
        values = photo.detach().permute(1, 2, 0).cpu()
        return _of_array((values.float() if values.is_floating_point() else values).numpy())
    if isinstance(photo, np.ndarray):
        if photo.ndim not in (2, 3) or (photo.ndim == 3 and photo.shape[2] not in (1, 3)):
            raise InputShapeError(f"expected a photo as an array [H,W] or [H,W,3], got {list(photo.shape)}")
        return _of_array(photo)
    raise InputTypeError(
        f"expected a photo as a PIL image, a path, an array [H,W,3] or a tensor [C,H,W], got {type(photo).__name__}"
    )


def model_view(image: Float[Tensor, "C H W"], restore: Any = None) -> Image.Image:
    """Return a preprocessed image as the model sees it.

    Without `restore`, which inverts the normalization, the values are stretched to [0,1].
    """
    if restore is not None:
        return to_pil(restore(image))
    return to_pil(stretched(image))


def stretched(image: Float[Tensor, "C *size"]) -> Float[Tensor, "C *size"]:
    """Return an image or a volume whose values are stretched to [0,1]."""
    return normalize(image.flatten(0, 1)[None])[0].view_as(image)


def _of_array(values: np.ndarray) -> Image.Image:
    if np.issubdtype(values.dtype, np.floating):
        if not (values.min() >= -_TOLERANCE and values.max() <= 1 + _TOLERANCE):  # also if a value is NaN
            raise InputRangeError(
                "a floating-point photo must have values in [0,1]; leave the photo out to show what the model received"
            )
        values = (values.clip(0, 1) * 255).round().astype(np.uint8)
    elif values.dtype != np.uint8:
        raise InputTypeError(f"expected a photo of 8-bit values, or floating-point values in [0,1], got {values.dtype}")
    return as_rgb(Image.fromarray(values[:, :, 0] if values.shape[2:] == (1,) else values))
