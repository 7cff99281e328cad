"""Overlays: photos colored by maps."""

from collections.abc import Sequence
from math import ceil, floor
from typing import Unpack

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw
from torch import Tensor

from xai_core.errors import OptionError
from xai_core.normalization import normalize, resize
from xai_core.visualization.colors import OPACITY, Style, blend, colormap, limit_of
from xai_core.visualization.contours import draw_contours, levels_of
from xai_core.visualization.placement import Placement

_OUTLINE = "#39ff14"
_WIDTH = 1 / 200
"""The width of the outline of a box, as a fraction of the longer side of the image."""


def overlay(
    photo: Image.Image,
    saliency: Float[Tensor, "H W"],
    *,
    signed: bool = False,
    placement: Placement | None = None,
    limit: float | None = None,
    **style: Unpack[Style],
) -> Image.Image:
    """Color a photo by a map. Opacity increases with saliency up to the 99th percentile of the map.

    Parameters
    ----------
    photo
        An RGB image.
    saliency
        A map in [0,1], or in [-1,1] if it is signed.
    signed
        Whether negative values count against the target. If so, they have separate colors.
    placement
        The rectangle of the photo that the map covers. Default: the whole photo.
    limit
        The magnitude at which the colors saturate. Default: the 99th percentile of the magnitudes of the map.
    **style
        See `Style`.
    """
    values = saliency.detach().float().cpu().numpy()
    values = (values / (limit or limit_of(values))).clip(-1 if signed else 0, 1)
    whole = Placement(0, 0, *photo.size)
    values = (placement or whole).place(values, *photo.size)
    alpha = style.get("alpha", OPACITY)
    if not (isinstance(alpha, float | int) and 0 <= alpha <= 1):
        raise OptionError(f"alpha must be a number in [0,1], got {alpha!r}")
    levels = levels_of(style.get("contours"))
    colors = colormap(style.get("cmap"), signed)
    colored = Image.fromarray(blend(np.asarray(photo.convert("RGB")), values, colors, float(alpha), signed))
    if levels:
        draw_contours(colored, np.abs(values), levels)
    return colored


def with_box(image: Image.Image, box: Sequence[float]) -> Image.Image:
    """Return an image with the outline of a box xyxy in pixels, on the outermost pixels of the box."""
    drawn = image.copy()
    left, top = floor(box[0]), floor(box[1])
    sides = (left, top, max(left, ceil(box[2]) - 1), max(top, ceil(box[3]) - 1))
    ImageDraw.Draw(drawn).rectangle(sides, outline=_OUTLINE, width=max(1, round(max(image.size) * _WIDTH)))
    return drawn


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
