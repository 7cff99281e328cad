"""Opens pictures of any mode, upright and in RGB, or says what is wrong with the file."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from xai_core.errors import FileError, ImageFileError

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST = 4096
_TILE = 1024
_ORIENTATION = 0x0112


class ImageRead(NamedTuple):
    """A picture, and what it was in its file.

    Attributes
    ----------
    image
        In RGB, upright, and at most `LONGEST` pixels on the longer side.
    stored
        Width and height in pixels that the file states, before anything was turned or made smaller.
    turned
        Whether its EXIF data say that it is stored turned or mirrored.
    """

    image: "Image"
    stored: tuple[int, int]
    turned: bool


def open_image(path: str | os.PathLike[str]) -> "Image":
    """Open an image file: decoded, turned as its EXIF data says, in RGB, the longer side at most 4,096 pixels.

    Of several frames it is the first. What is larger is averaged down at once: a JPEG file while it is decoded, any
    other after it was decoded in its own mode. Above Pillow's limit, 178,956,970 pixels, nothing is decoded.

    Raises
    ------
    FileError
        Where there is no such file.
    ImageFileError
        Where it is broken, truncated, empty, too large to be decoded safely, not an image, or may not be read.
    """
    return read_image(path).image


def read_image(path: str | os.PathLike[str]) -> ImageRead:
    """Open an image file as `open_image` does, and say what it was in the file."""
    path = Path(path)
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise FileError(f"{path} does not exist; expected an image file") from None
    except OSError as error:
        if path.is_dir():
            raise FileError(f"{path} is a folder; expected an image file") from None
        raise ImageFileError(f"{path} cannot be read ({error.strerror}); expected a file that may be read") from error
    with file:
        return decode_image(file, str(path))


def decode_image(file: BinaryIO, name: str) -> ImageRead:
    """Decode an image as `open_image` does; `name` is what errors call it."""
    from PIL import Image, UnidentifiedImageError

    try:
        try:
            return _decode(file)
        except Image.DecompressionBombWarning:  # an error where warnings are; the limit is twice as high
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                return _decode(file)
    except Image.DecompressionBombError as error:
        raise ImageFileError(f"{name} is too large to be decoded safely ({error}); make it smaller") from error
    except Exception as error:  # decoders raise whatever they trip over
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "it is of no kind that Pillow knows" if unknown else " ".join(str(error).split())
        raise ImageFileError(
            f"{name} cannot be read as an image ({reason}); it may be broken, truncated or of another kind"
        ) from error


def _decode(file: BinaryIO) -> ImageRead:
    from PIL import Image, ImageOps

    if not file.seek(0, os.SEEK_END):
        raise ValueError("it is empty")
    with Image.open(file) as image:
        stored, turned = image.size, image.getexif().get(_ORIENTATION, 1) != 1
        if max(stored) > LONGEST:
            image.draft(None, (LONGEST, LONGEST))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return ImageRead(_made_smaller(image) if max(image.size) > LONGEST else _rgb(image), stored, turned)


def as_rgb(image: "Image") -> "Image":
    """Turn a PIL image of any mode upright and into RGB.

    Sixteen bits are scaled to eight. Modes I and F say nothing of their range; the smallest of [0,1] (F only),
    [0,255] and [0,65535] that holds the maximum is taken. What is transparent shows white.
    """
    from PIL import ImageOps

    return _rgb(ImageOps.exif_transpose(image))


def _made_smaller(image: "Image") -> "Image":
    """Bring an image to RGB and to `LONGEST`, a tile at a time, so that it is never whole in RGB."""
    from PIL import Image

    factor = max(image.size) // LONGEST
    step = factor * max(1, _TILE // factor)
    full = _full(image) if _deep(image) else None
    small = Image.new("RGB", (-(-image.width // factor), -(-image.height // factor)))
    for top in range(0, image.height, step):
        for left in range(0, image.width, step):
            tile = image.crop((left, top, min(left + step, image.width), min(top + step, image.height)))
            small.paste(_rgb(tile, full).reduce(factor), (left // factor, top // factor))
    small.thumbnail((LONGEST, LONGEST))
    return small


def _rgb(image: "Image", full: float | None = None) -> "Image":
    """Bring an image to RGB; `full` is the value of white in what it is a part of."""
    from PIL import Image

    if _deep(image):
        return _eight_bits(image, full or _full(image)).convert("RGB")
    if image.mode == "La":
        image = image.convert("LA")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _deep(image: "Image") -> bool:
    return image.mode.startswith("I") or image.mode == "F"


def _full(image: "Image") -> float:
    """The value of white in an image of modes I and F, which do not say it."""
    if image.mode.startswith("I;16"):
        return 65535.0
    largest = float(image.getextrema()[1])  # type: ignore[arg-type] # of one band
    ranges = (255.0, 65535.0) if image.mode == "I" else (1.0, 255.0, 65535.0)
    return next((high for high in ranges if largest <= high), largest)


def _eight_bits(image: "Image", full: float) -> "Image":
    from PIL import Image

    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ImageFileError("the image holds values that are not finite")
    return Image.fromarray((values * (255 / full)).round().clip(0, 255).astype(np.uint8))
