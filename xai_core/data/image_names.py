"""Names of image files: the extensions of formats that are read, and names without them."""

import functools

from PIL import Image

from xai_core.data.image_formats import readable_formats


@functools.cache
def image_extensions() -> frozenset[str]:
    """Return the file extensions of the image formats that are read."""
    extensions = Image.registered_extensions()
    return frozenset(extension for extension, name in extensions.items() if name in readable_formats())


def stem(name: str) -> str:
    """Return a file name or an id without its extension, if that is the extension of an image."""
    start, dot, end = name.rpartition(".")
    return start if dot + end.lower() in image_extensions() else name
