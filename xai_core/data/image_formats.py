"""The image formats that are read. Pillow recognizes a file by its content, not by its extension."""

import functools

RASTER_FORMATS = (
    *("AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "PCX", "PNG", "PPM", "PSD", "QOI", "SGI", "TGA", "TIFF"),
    "WEBP",
)
"""Pillow's names of raster formats. Its other formats include EPS, which Ghostscript runs as a program, and videos."""


@functools.cache
def readable_formats() -> tuple[str, ...]:
    """Return the raster formats that the installed version of Pillow reads."""
    from PIL import Image

    Image.init()
    return tuple(name for name in RASTER_FORMATS if name in Image.OPEN)
