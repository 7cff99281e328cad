"""Contour lines of maps on a photo."""

from collections.abc import Iterable

import numpy as np
from contourpy import contour_generator
from jaxtyping import Float
from PIL import Image, ImageDraw

from xai_core.errors import OptionError

LEVELS = (0.5,)
_THICKNESS = 1 / 200


def levels_of(contours: object) -> tuple[float, ...]:
    """Return the levels that the option `contours` selects, in (0,1).

    Raises
    ------
    OptionError
        If it is neither a bool nor a sequence of numbers in (0,1).
    """
    if isinstance(contours, bool) or contours is None:
        return LEVELS if contours else ()
    levels = tuple(contours) if isinstance(contours, Iterable) and not isinstance(contours, str) else (contours,)
    if not all(isinstance(level, float | int) and 0 < level < 1 for level in levels):
        raise OptionError(
            f"contours must be True, False, or levels between 0 and 1 such as [0.25, 0.5], got {contours!r}"
        )
    return tuple(map(float, levels))


def draw_contours(photo: Image.Image, values: Float[np.ndarray, "H W"], levels: Iterable[float]) -> None:
    """Draw white lines with a dark edge where the values cross the levels."""
    draw = ImageDraw.Draw(photo)
    width = max(1, round(max(photo.size) * _THICKNESS))
    generator = contour_generator(z=values)
    lines = [line for level in levels for line in generator.lines(level)]
    for color, extra in (("#222226", 2), ("white", 0)):
        for line in lines:
            draw.line([tuple(point) for point in np.asarray(line) + 0.5], color, width + extra, "curve")
