"""Panels: the maps of a batch one by one, each with its photo and caption, ready to be drawn."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Unpack

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from xai_core.errors import InputShapeError
from xai_core.normalization import CONSTANT, resize
from xai_core.visualization.colors import Style
from xai_core.visualization.overlays import overlay
from xai_core.visualization.photos import Photo, as_photo
from xai_core.visualization.placement import Placement
from xai_core.visualization.view import photo_of
from xai_core.visualization.viewed import ViewedMaps

Photos = Photo | Sequence[Photo] | None
"""A photo for each image, or a photo alone for a batch of one. None selects the images that the model received."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One map with its photo.

    Attributes
    ----------
    photo
        The photo.
    values
        [H,W] in [0,1], or in [-1,1] if the map is signed.
    signed
        Whether the map is signed.
    placement
        The rectangle of the photo that the map covers.
    caption
        Description of the target that the map explains.
    """

    photo: Image.Image
    values: Float[Tensor, "H W"]
    signed: bool
    placement: Placement
    caption: str

    def overlay(self, **style: Unpack[Style]) -> Image.Image:
        """Return the photo colored by the map."""
        return overlay(self.photo, self.values, signed=self.signed, placement=self.placement, **style)


def panels_of(maps: ViewedMaps, photos: Photos) -> list[Panel]:
    """Return a panel for each image, and for each target of an image.

    Parameters
    ----------
    maps
        The maps.
    photos
        A photo for each image, or a photo alone for a batch of one. Default: the images that the model received.

    Raises
    ------
    UnsuitableError
        If there are no photos and the images are not known.
    InputShapeError
        If there is not one photo for each image.
    """
    own = None if photos is None else [as_photo(photo) for photo in listed(photos)]
    if own is not None and len(own) != len(maps):
        raise InputShapeError(f"expected a photo for each of {len(maps)} images, got {len(own)}")
    signed = is_signed(maps.raw)
    return [
        _panel(single, None if own is None else own[index], signed)
        for index in range(len(maps))
        for single in maps[index].each
    ]


def is_signed(raw: Tensor) -> bool:
    """Return whether relevance has negative values, beyond rounding."""
    return bool(raw.amin() < -CONSTANT * raw.abs().amax())


def listed(photos: Photo | Sequence[Photo]) -> list[Photo]:
    """Return one or several photos as a list. A tensor [B,C,H,W] or an array [B,H,W,3] is a batch of photos."""
    if isinstance(photos, Tensor | np.ndarray):
        return [*photos] if photos.ndim == 4 else [photos]
    return [photos] if isinstance(photos, Image.Image | str | os.PathLike) else [*photos]


def _panel(single: ViewedMaps, photo: Image.Image | None, signed: bool) -> Panel:
    """Return the panel of the map of one image and one target."""
    view, target = single.view, single.target
    assert not isinstance(target, tuple)
    values = _scaled(single.raw, single.values) if signed else single.values
    photo, placement = photo_of(view, photo)
    return Panel(photo, values[0], signed, placement, "" if view is None else view.caption(0, target))


def _scaled(raw: Float[Tensor, "1 h w"], values: Float[Tensor, "1 H W"]) -> Float[Tensor, "1 H W"]:
    """Return signed relevance, resized to the resolution of `values` and divided by its largest magnitude."""
    resized = resize(raw, (values.shape[-2], values.shape[-1]))
    return resized / resized.abs().amax().clamp(min=torch.finfo(resized.dtype).tiny)
