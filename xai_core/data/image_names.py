"""Names of image files: the extensions of formats that are read, and names without them."""

import functools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

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


def short_names(paths: Sequence[str]) -> list[str]:
    """Return the name of each file, with as many of its folders as distinguish it from the other paths."""
    parts = [Path(path).parts for path in paths]
    names = [""] * len(paths)
    for depth in range(1, max(map(len, parts), default=0) + 1):
        ends = ["/".join(each[-depth:]) for each in parts]
        counts = Counter(ends)
        for number, end in enumerate(ends):
            if not names[number] and (counts[end] == 1 or depth >= len(parts[number])):
                names[number] = end
    return names
