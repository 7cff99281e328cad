"""Names of image files: the extensions that Pillow reads, and names without them."""

import functools

from PIL import Image


@functools.cache
def image_extensions() -> frozenset[str]:
    """Return the file extensions of the image formats that Pillow reads, without videos and documents."""
    extensions = Image.registered_extensions()  # also loads the formats
    formats = {name for name in Image.OPEN if Image.MIME.get(name, "").startswith("image/")}
    return frozenset(extension for extension, name in extensions.items() if name in formats)


def stem(name: str) -> str:
    """Return a file name or an id without its extension, if that is the extension of an image."""
    start, dot, end = name.rpartition(".")
    return start if dot + end.lower() in image_extensions() else name
