"""Paints figures on an image, and computes the exact mask of each."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from xai_zoo.outlines import Outline

_FINE = 4  # subpixels per pixel and axis


class Figure(NamedTuple):
    """An outline [N,2] of (x, y), relative to the image's side, and its fill color [3] (uint8)."""

    outline: Outline
    color: NDArray[np.uint8]


class Painting(NamedTuple):
    """An image [3,H,H] in [0,1], and the visible fraction [F,H,H] in [0,1] of each figure in each pixel."""

    image: NDArray[np.float32]
    visible: NDArray[np.float32]


def paint(background: NDArray[np.uint8], figures: Sequence[Figure]) -> Painting:
    """Paint figures on a square background [3,H,H] (uint8), later figures over earlier ones.

    Edges are smooth: each pixel mixes the colors of its sixteen subpixels. The computation uses integers, so the result
    is identical on every machine.
    """
    size = background.shape[-1]
    canvas = Image.new("L", (size * _FINE, size * _FINE))
    draw = ImageDraw.Draw(canvas)
    for number, figure in enumerate(figures, 1):
        draw.polygon(np.rint(figure.outline * size * _FINE).astype(int).ravel().tolist(), fill=number)
    owner = np.asarray(canvas)
    parts = np.stack([_count(owner == number) for number in range(len(figures) + 1)])
    colors = np.array([figure.color for figure in figures], np.uint16).reshape(-1, 3)
    mixed = parts[0] * background + np.tensordot(colors, parts[1:], (0, 0))
    image = np.divide(mixed, 255 * _FINE**2, dtype=np.float32)
    return Painting(image, np.divide(parts[1:], _FINE**2, dtype=np.float32))


def _count(owned: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """Count the marked subpixels of each pixel. Adding slices is much faster than summing over short axes."""
    rows = owned.view(np.uint8).reshape(-1, _FINE, len(owned)).sum(1, dtype=np.uint16)
    return np.add.reduce([rows[:, start::_FINE] for start in range(_FINE)], dtype=np.uint16)
