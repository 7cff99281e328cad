"""Opens image files of any mode, upright and in RGB, with one clear error for a file that cannot be read."""

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from xai_core.data.image_formats import readable_formats
from xai_core.error_text import message_of
from xai_core.errors import FileError, ImageFileError
from xai_core.file_limits import file_limit
from xai_core.files import is_folder, is_openable, reason

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST = 4096
"""Maximum length of an image's longer side in pixels. Larger images are scaled down."""
MAX_PIXELS = "XAI_MAX_PIXELS"
"""The environment variable that changes Pillow's limit on the number of pixels of an image."""
_TILE = 1024
_ORIENTATION = 0x0112
_TURNED = range(2, 9)
"""The values of the EXIF orientation that state a rotation or a reflection. 1 is upright, and cameras also write 0."""


class ImageRead(NamedTuple):
    """An image, with the properties of its file.

    Attributes
    ----------
    image
        The image in RGB, upright, with at most `LONGEST` pixels on the longer side.
    stored
        The width and height in pixels in the file, before the image was rotated or scaled.
    turned
        Whether the EXIF data states that the image is stored rotated or mirrored.
    """

    image: "Image"
    stored: tuple[int, int]
    turned: bool


def open_image(path: str | os.PathLike[str]) -> "Image":
    """Open an image file as an RGB image, rotated upright, with at most 4,096 pixels on the longer side.

    The rotation follows the EXIF data. If the file has several frames, the first is returned. Larger images are scaled
    down by averaging. JPEG files are scaled down during decoding, and other files after decoding. An image with more
    pixels than Pillow's limit, 178,956,970, is not decoded. The environment variable `XAI_MAX_PIXELS` changes this
    limit. Only raster formats are read: a file in another format, such as EPS, is rejected, even if it is named .png.

    Raises
    ------
    FileError
        If the file does not exist.
    ImageFileError
        If the file is damaged, truncated, empty, too large to be decoded safely, not an image, not a regular file, or
        not readable.
    """
    return read_image(path).image


def read_image(path: str | os.PathLike[str]) -> ImageRead:
    """Open an image file as `open_image` does, and return the properties of the file too."""
    path = Path(path)
    if not is_openable(path):
        raise ImageFileError(f"{path} is a pipe, socket or device; expected an image file")
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise FileError(f"{path} does not exist; expected an image file") from None
    except (OSError, ValueError) as error:
        if is_folder(path):
            raise FileError(f"{path} is a folder; expected an image file") from None
        raise ImageFileError(f"{path} cannot be read ({reason(error)}); expected a readable file") from error
    with file:
        return decode_image(file, str(path))


def decode_image(file: BinaryIO, name: str) -> ImageRead:
    """Decode an image as `open_image` does. `name` identifies the file in error messages."""
    from PIL import Image, UnidentifiedImageError

    if limit := file_limit(MAX_PIXELS, 0):
        Image.MAX_IMAGE_PIXELS = limit // 2  # Pillow warns above it, and raises an error above twice as many pixels
    try:
        try:
            return _decode(file)
        except Image.DecompressionBombWarning:  # raised if warnings are errors; the limit is twice as high
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                return _decode(file)
    except Image.DecompressionBombError as error:
        raise ImageFileError(
            f"{name} is too large to be decoded safely ({error}); make it smaller, or set {MAX_PIXELS} to a larger"
            " number if you trust the file"
        ) from error
    except Exception as error:  # decoders raise errors of any class
        unknown = isinstance(error, UnidentifiedImageError)
        formats = f"its content is in none of the formats {', '.join(readable_formats())}"
        cause = formats if unknown else message_of(error)
        raise ImageFileError(
            f"{name} cannot be read as an image ({cause}); it may be damaged, truncated or not an image"
        ) from error


def _decode(file: BinaryIO) -> ImageRead:
    from PIL import Image, ImageOps

    if not file.seek(0, os.SEEK_END):
        raise ValueError("it is empty")
    with Image.open(file, formats=readable_formats()) as image:
        stored, turned = image.size, _is_turned(image)
        if max(stored) > LONGEST:
            image.draft(None, (LONGEST, LONGEST))
        image.load()
        if turned:
            ImageOps.exif_transpose(image, in_place=True)
        return ImageRead(_scaled_down(image) if max(image.size) > LONGEST else _rgb(image), stored, turned)


def upright(image: "Image") -> "Image":
    """Rotate and mirror a PIL image as its EXIF data specify. An image that is stored upright is returned unchanged."""
    from PIL import ImageOps

    return ImageOps.exif_transpose(image) if _is_turned(image) else image


def as_rgb(image: "Image") -> "Image":
    """Convert a PIL image of any mode to RGB, upright.

    16-bit values are scaled to 8 bits. Modes I and F do not specify the range of their values. The smallest range that
    contains the maximum is used: [0,1] (only for mode F), [0,255] or [0,65535].

    Transparent pixels become white.
    """
    return _rgb(upright(image))


def _is_turned(image: "Image") -> bool:
    try:
        return image.getexif().get(_ORIENTATION) in _TURNED
    except Exception:  # damaged EXIF data raise errors of any class, and viewers ignore them
        return False


def _scaled_down(image: "Image") -> "Image":
    """Convert an image to RGB and scale it down to `LONGEST`, one tile at a time.

    The whole image is therefore never in memory in RGB.
    """
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
    """Convert an image, or a part of one, to RGB. `full` is the value of white in the whole image."""
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
    """Return the value that is assumed to be white in an image of mode I or F."""
    if image.mode.startswith("I;16"):
        return 65535.0
    largest = float(image.getextrema()[1])  # type: ignore[arg-type] # an image of one band
    ranges = (255.0, 65535.0) if image.mode == "I" else (1.0, 255.0, 65535.0)
    return next((high for high in ranges if largest <= high), largest)


def _eight_bits(image: "Image", full: float) -> "Image":
    from PIL import Image

    values = np.asarray(image, dtype=np.float64)
    if not np.isfinite(values).all():
        raise ImageFileError("the image contains values that are not finite")
    return Image.fromarray((values * (255 / full)).round().clip(0, 255).astype(np.uint8))
