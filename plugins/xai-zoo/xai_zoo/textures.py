"""Natural textures: crops of the photographs of scikit-image."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from xai_core.plugin import open_image
from xai_zoo.installed import installed_file

# Lossless files, which all decoders read identically.
_PHOTOGRAPHS = ("astronaut", "brick", "chelsea", "coffee", "grass", "gravel", "motorcycle_left")


def texture(random: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Return a random square crop of a photograph, of any scale and position, as [3,size,size] (uint8)."""
    photograph = _photograph(_PHOTOGRAPHS[random.integers(len(_PHOTOGRAPHS))])
    side = int(min(photograph.size) * random.uniform(0.2, 0.6))
    left, top = (int(random.integers(length - side + 1)) for length in photograph.size)
    crop = photograph.resize((size, size), Image.Resampling.BILINEAR, (left, top, left + side, top + side))
    return np.asarray(crop).transpose(2, 0, 1)[..., :: random.choice((-1, 1))]


@cache
def _photograph(name: str) -> Image.Image:
    return open_image(installed_file("scikit-image", f"skimage/data/{name}.png"))
