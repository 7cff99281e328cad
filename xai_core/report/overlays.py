"""Images of a report: what the model sees, and saliency overlays."""

import io
from collections.abc import Sequence

import matplotlib
import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from xai_core.data.sources import LoadedModel
from xai_core.saliency import normalize, resize

COLORMAP = "inferno"
"""From black over red to yellow. Its lightness increases evenly, so higher saliency is always brighter."""
OPACITY = 0.85
"""Opacity of the overlay at the highest saliency. At zero saliency the overlay is transparent."""
SATURATION = 0.99
"""Quantile of the map at which the colors saturate, so that a few very salient pixels do not hide all others."""
MIN_SATURATION = 0.05
"""Smallest value at which the colors saturate, so that negligible saliency stays invisible."""


def model_view(loaded: LoadedModel, image: Float[Tensor, "C H W"]) -> Image.Image:
    """Return a preprocessed image as the model sees it.

    If the model has no `restore`, which inverts the normalization, the values are stretched to [0,1].
    """
    if loaded.restore is not None:
        return to_pil(loaded.restore(image))
    return to_pil(normalize(image.flatten(0, 1)[None])[0].view_as(image))


def to_pil(image: Float[Tensor, "C H W"]) -> Image.Image:
    """Convert an image with values in [0,1] to an RGB image of Pillow. Only the first three channels are shown."""
    channels = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    values = channels.detach().float().clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    return Image.fromarray((values * 255).round().astype(np.uint8))


def overlay(photo: Image.Image, saliency: Float[Tensor, "H W"]) -> Image.Image:
    """Color an image by saliency in [0,1]. Opacity increases with saliency up to the 99th percentile of the map."""
    values = saliency.detach().float().cpu().numpy()
    values = np.minimum(values / max(np.quantile(values, SATURATION), MIN_SATURATION), 1)
    colors = matplotlib.colormaps[COLORMAP](values)[..., :3]
    opacity = OPACITY * values[..., None]
    blended = (1 - opacity) * np.asarray(photo.convert("RGB"), dtype=np.float64) / 255 + opacity * colors
    return Image.fromarray((blended * 255).round().astype(np.uint8))


def part_overlays(photo: Image.Image, parts: Float[Tensor, "P h w"]) -> list[Image.Image]:
    """Color an image by each part of a map, such as the map of an attention head. Parts are normalized separately."""
    return [overlay(photo, part) for part in normalize(resize(parts, (photo.height, photo.width)))]


def side_by_side(images: Sequence[Image.Image], gap: int = 2) -> Image.Image:
    """Join images of equal size in a row, with transparent gaps of `gap` pixels."""
    width, height = images[0].width + gap, images[0].height
    row = Image.new("RGBA", (width * len(images) - gap, height))
    for i, image in enumerate(images):
        row.paste(image, (i * width, 0))
    return row


def png(image: Image.Image) -> bytes:
    """Encode an image as PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
