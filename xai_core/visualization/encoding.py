"""Encodes images and figures as files."""

import io
from collections.abc import Callable
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from xai_core.errors import OptionError
from xai_core.files import write_file

RASTER = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
VECTOR = (".pdf", ".svg")
QUALITY = 92
"""Quality of JPEG and WebP files, out of 100."""


def encode(image: Image.Image, kind: str = "PNG", quality: int = QUALITY) -> bytes:
    """Encode an image as PNG, JPEG or WEBP. The quality, out of 100, does not matter for PNG."""
    buffer = io.BytesIO()
    if kind == "JPEG" and image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    image.save(buffer, kind, quality=quality)
    return buffer.getvalue()


def png(image: Image.Image) -> bytes:
    """Encode an image as PNG."""
    return encode(image, "PNG")


def encode_figure(figure: Figure, kind: str = "png", dpi: int = 160) -> bytes:
    """Encode a figure of matplotlib as PNG, JPEG, WebP, PDF or SVG, without a display."""
    FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=dpi, bbox_inches="tight")
    return buffer.getvalue()


def save_image(path: str | Path, image: Callable[[], Image.Image], figure: Callable[[], Figure]) -> None:
    """Save an image in the format of the extension: the image for raster formats, the figure for vector formats.

    Raises
    ------
    OptionError
        If the extension is not png, jpg, webp, pdf or svg.
    FileError
        If the file cannot be written.
    """
    kind = _kind(path)
    content = encode_figure(figure(), kind[1:]) if kind in VECTOR else encode(image(), RASTER[kind])
    write_file(Path(path), content)


def save_figure(path: str | Path, figure: Callable[[], Figure]) -> None:
    """Save a figure in the format of the extension. See `save_image`."""
    write_file(Path(path), encode_figure(figure(), _kind(path)[1:]))


def _kind(path: str | Path) -> str:
    """Return the extension of a file."""
    kind = Path(path).suffix.lower()
    if kind not in RASTER and kind not in VECTOR:
        raise OptionError(
            f"cannot save an image as {Path(path).name!r}; expected a name with .png, .jpg, .webp, .pdf or .svg"
        )
    return kind
