"""Opens pictures of any mode, upright and in RGB, or says what is wrong with the file."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from xai_core.errors import FileError, ImageFileError

if TYPE_CHECKING:
    from PIL.Image import Image


def open_image(path: str | os.PathLike[str]) -> "Image":
    """Open an image file: decoded, turned as its EXIF data says, in RGB.

    Raises
    ------
    FileError
        Where there is no such file.
    ImageFileError
        Where it is broken, truncated, too large to be decoded safely, or not an image.
    """
    from PIL import Image

    path = Path(path)
    if not path.exists():
        raise FileError(f"{path} does not exist; expected an image file")
    if path.is_dir():
        raise FileError(f"{path} is a folder; expected an image file")
    try:
        with Image.open(path) as image:
            image.load()
            return as_rgb(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageFileError(f"{path} is too large to be decoded safely ({error}); make it smaller") from error
    except Exception as error:  # decoders raise whatever they trip over
        raise ImageFileError(
            f"{path} cannot be read as an image ({error}); it may be broken, truncated or of another kind"
        ) from error


def as_rgb(image: "Image") -> "Image":
    """Turn a PIL image of any mode upright and into RGB.

    Sixteen bits are scaled to eight. Modes I and F say nothing of their range; the smallest of [0,1] (F only),
    [0,255] and [0,65535] that holds the maximum is taken. What is transparent shows white.
    """
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _eight_bits(image).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _eight_bits(image: "Image") -> "Image":
    from PIL import Image

    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ImageFileError("the image holds values that are not finite")
    ranges = (
        [65535.0] if image.mode.startswith("I;16") else [255.0, 65535.0] if image.mode == "I" else [1.0, 255.0, 65535.0]
    )
    largest = values.max()
    full = next((high for high in ranges if largest <= high), largest)
    return Image.fromarray((values * (255 / full)).round().clip(0, 255).astype(np.uint8))
