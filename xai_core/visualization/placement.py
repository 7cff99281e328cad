"""Location of the model's input in the photo that it was made from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from xai_core.data.pixels import to_pil
from xai_core.errors import UnsuitableError

_TOLERANCE = 0.02
"""Largest deviation of a pixel from the fitted location, as a fraction of the photo's width or height."""
_INSIDE = 0.99
"""Smallest difference of white and black, relative to the largest, at which a pixel is photo and not padding."""


@dataclass(frozen=True)
class Placement:
    """The rectangle of a photo that a model receives, in pixels of the photo. With padding, it exceeds the photo.

    Attributes
    ----------
    left, top, right, bottom
        The edges. Pixel (0, 0) of the photo extends from 0 to 1.
    """

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def of(cls, preprocess: Callable[[Any], Tensor], width: int, height: int) -> "Placement":
        """Return the part of a photo of this size that `preprocess` passes to the model.

        `preprocess` receives a black image, a white image, and an image whose red and green values are the coordinates.

        Raises
        ------
        UnsuitableError
            If `preprocess` does more than resize, crop, pad and normalize.
        """
        x = (torch.arange(width) + 0.5) / width
        y = (torch.arange(height) + 0.5) / height
        coordinates = torch.stack(
            [x.expand(height, width), y[:, None].expand(height, width), torch.ones(height, width)]
        )
        black, white = (_applied(preprocess, torch.full((3, height, width), value)) for value in (0.0, 1.0))
        span = (white - black).double()
        inside = (span.abs() >= _INSIDE * span.abs().amax((-2, -1), keepdim=True)).all(0)
        located = (_applied(preprocess, coordinates).double() - black) / span.where(inside, 1)
        left, right = _edges(located[0], inside, width)
        top, bottom = _edges(located[1].T, inside.T, height)
        return cls(left, top, right, bottom)

    def in_photo(self, box: Sequence[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Convert a box xyxy in pixels of the model's input of a size (H, W) to pixels of the photo."""
        across, down = (self.right - self.left) / size[1], (self.bottom - self.top) / size[0]
        left, top, right, bottom = box
        return self.left + left * across, self.top + top * down, self.left + right * across, self.top + bottom * down

    def in_input(self, box: Sequence[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Convert a box xyxy in pixels of the photo to pixels of the model's input of a size (H, W)."""
        across, down = size[1] / (self.right - self.left), size[0] / (self.bottom - self.top)
        left, top, right, bottom = box
        return (
            (left - self.left) * across,
            (top - self.top) * down,
            (right - self.left) * across,
            (bottom - self.top) * down,
        )

    def place(self, values: Float[np.ndarray, "h w"], width: int, height: int) -> Float[np.ndarray, "H W"]:
        """Return a map at the size of the photo: resized bilinearly to this rectangle, and zero outside of it."""
        left, top = max(0, round(self.left)), max(0, round(self.top))
        right, bottom = min(width, round(self.right)), min(height, round(self.bottom))
        rows, columns = values.shape
        across, down = columns / (self.right - self.left), rows / (self.bottom - self.top)
        box = (
            max(0.0, (left - self.left) * across),
            max(0.0, (top - self.top) * down),
            min(float(columns), (right - self.left) * across),
            min(float(rows), (bottom - self.top) * down),
        )
        region = Image.fromarray(values.astype(np.float32)).resize(
            (right - left, bottom - top), Image.Resampling.BILINEAR, box
        )
        placed = np.zeros((height, width), np.float32)
        placed[top:bottom, left:right] = np.asarray(region)
        return placed


def _applied(preprocess: Callable[[Any], Tensor], image: Float[Tensor, "3 H W"]) -> Float[Tensor, "C h w"]:
    """Apply a preprocessing to a tensor, or to a PIL image if it accepts no tensor."""
    try:
        return preprocess(image).cpu()
    except Exception:  # of any class: the preprocessing belongs to the user
        return preprocess(to_pil(image)).cpu()


def _edges(coordinates: Float[Tensor, "h w"], inside: Bool[Tensor, "h w"], size: int) -> tuple[float, float]:
    """Return the edges along the second axis, in pixels, from a linear fit of the coordinates of all cells.

    Pixels next to the border of the photo are left out of the fit, because resampling is not linear there.
    """
    count = coordinates.shape[1]
    cells = torch.arange(count, dtype=torch.float64, device=coordinates.device) + 0.5
    cells = cells.expand_as(coordinates)
    step = 1 / max(1, int(inside.any(0).sum()))
    fitted = inside & (coordinates > 2 * step) & (coordinates < 1 - 2 * step)
    fitted = fitted if fitted.sum() > 2 else inside
    at, location = cells[fitted], coordinates[fitted]
    slope = ((at - at.mean()) * (location - location.mean())).sum() / (at - at.mean()).square().sum()
    start = location.mean() - slope * at.mean()
    deviation = (start + slope * at - location).abs().max()
    if not (slope > 0 and deviation < _TOLERANCE):
        raise UnsuitableError(
            "the preprocessing of this model does more than resize, crop and pad, so the map cannot be placed on the"
            " photo; leave the photo out to show what the model received"
        )
    return float(start * size), float((start + slope * count) * size)
