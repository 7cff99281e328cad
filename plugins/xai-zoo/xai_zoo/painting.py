"""Paints figures on a picture, and says exactly where each of them is seen."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from xai_zoo.outlines import Outline

_FINE = 4  # lines of the fine grid per pixel


class Figure(NamedTuple):
    """An outline [N,2], as (x, y) in parts of the picture's side, filled with one color [3] of 8 bits."""

    outline: Outline
    color: NDArray[np.uint8]


class Painting(NamedTuple):
    """A picture [3,H,H] in [0,1], and the part [F,H,H] in [0,1] of each pixel where each figure is seen."""

    picture: NDArray[np.float32]
    seen: NDArray[np.float32]


def paint(background: NDArray[np.uint8], figures: Sequence[Figure]) -> Painting:
    """Paint figures on a square background [3,H,H] of 8 bits, the later over the earlier.

    Edges are smooth: the figures are drawn on a grid four times as fine, and a pixel mixes the colors of its sixteen
    parts. All of it is counted in integers, so that every machine paints the same.
    """
    size = background.shape[-1]
    canvas = Image.new("L", (size * _FINE, size * _FINE))
    draw = ImageDraw.Draw(canvas)
    for place, figure in enumerate(figures, 1):
        draw.polygon(np.rint(figure.outline * size * _FINE).astype(int).ravel().tolist(), fill=place)
    owner = np.asarray(canvas)
    parts = np.stack([_count(owner == place) for place in range(len(figures) + 1)])
    colors = np.array([figure.color for figure in figures], np.uint16).reshape(-1, 3)
    mixed = parts[0] * background + np.tensordot(colors, parts[1:], (0, 0))
    picture = np.divide(mixed, 255 * _FINE**2, dtype=np.float32)
    return Painting(picture, np.divide(parts[1:], _FINE**2, dtype=np.float32))


def _count(owned: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Count how many of a pixel's sixteen parts are owned; slices add up much faster than sums over short axes."""
    rows = owned.view(np.uint8).reshape(-1, _FINE, len(owned)).sum(1, dtype=np.uint16)
    return np.add.reduce([rows[:, start::_FINE] for start in range(_FINE)], dtype=np.uint16)
