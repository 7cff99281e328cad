"""Pictures: what the model sees, and saliency laid over it."""

import functools
import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from xai_core.data.sources import LoadedModel
from xai_core.saliency import normalize, resize

COLOURS = "inferno"
"""Black through red to yellow: its lightness rises evenly, so that more saliency never looks like less."""
OPACITY = 0.85
"""How opaque the most salient places are; the least salient is clear."""
FULL, LEAST = 0.99, 0.05
"""The quantile of a map from which on its color is full, and the least value that it may have. In fine maps a few
pixels are far above all others, which nobody would see; but what is next to nothing stays so."""


def seen(loaded: LoadedModel, image: Float[Tensor, "C H W"]) -> Image.Image:
    """What the model sees of a preprocessed image; its values stretched to [0,1] where they cannot be restored."""
    if loaded.restore is not None:
        return picture(loaded.restore(image))
    return picture(normalize(image.flatten(0, 1)[None])[0].view_as(image))


def picture(image: Float[Tensor, "C H W"]) -> Image.Image:
    """Turn an image in [0,1] into a picture in RGB; of more than three channels, the first three are shown."""
    channels = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    values = channels.detach().float().clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    return Image.fromarray((values * 255).round().astype(np.uint8))


def overlay(photo: Image.Image, saliency: Float[Tensor, "H W"]) -> Image.Image:
    """Color a photo by saliency in [0,1]; the more salient a place, the more its color covers the photo.

    The most salient hundredth of the places has the full color.
    """
    values = saliency.detach().float().cpu().numpy()
    values = np.minimum(values / max(np.quantile(values, FULL), LEAST), 1)
    colors = matplotlib.colormaps[COLOURS](values)[..., :3]
    cover = OPACITY * values[..., None]
    mixed = (1 - cover) * np.asarray(photo.convert("RGB"), dtype=np.float64) / 255 + cover * colors
    return Image.fromarray((mixed * 255).round().astype(np.uint8))


def overlays(photo: Image.Image, parts: Float[Tensor, "P h w"]) -> list[Image.Image]:
    """Color a photo by each part of a map, of any range, on its own."""
    return [overlay(photo, part) for part in normalize(resize(parts, (photo.height, photo.width)))]


def strip(images: Sequence[Image.Image], gap: int = 2) -> Image.Image:
    """Put pictures of one size side by side, with a clear gap between them."""
    width, height = images[0].width + gap, images[0].height
    made = Image.new("RGBA", (width * len(images) - gap, height))
    for place, image in enumerate(images):
        made.paste(image, (place * width, 0))
    return made


def png(image: Image.Image) -> bytes:
    """Encode a picture as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


@functools.cache
def extensions() -> frozenset[str]:
    """The extensions of the picture files that Pillow reads, films and documents aside: `.jpg`, `.png`, ..."""
    known = Image.registered_extensions()
    kinds = {kind for kind in Image.OPEN if Image.MIME.get(kind, "").startswith("image/")}
    return frozenset(extension for extension, kind in known.items() if kind in kinds)


def stem(name: str) -> str:
    """A file name or an id without the extension of a picture, if it has one."""
    start, dot, end = name.rpartition(".")
    return start if dot + end.lower() in extensions() else name
