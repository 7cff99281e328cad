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

from xai_core.errors import InputShapeError, UnsuitableError
from xai_core.normalization import CONSTANT, resize
from xai_core.targets.box_measure import BoxMeasure
from xai_core.visualization.colors import Style, limit_of
from xai_core.visualization.overlays import overlay, with_box
from xai_core.visualization.photos import Photo, as_photo
from xai_core.visualization.placement import Placement
from xai_core.visualization.slices import in_a_row, shown_slices
from xai_core.visualization.view import photo_of, slices_of
from xai_core.visualization.viewed import ViewedMaps

Photos = Photo | Sequence[Photo] | None
"""A photo for each image, or a single photo for a batch of one. None selects the images that the model received."""


@dataclass(frozen=True, eq=False)
class Panel:
    """One map with its photo.

    Attributes
    ----------
    photo
        The photo.
    values
        [H,W] in [0,1], or in [-1,1] if the map is signed.
    limit
        The magnitude at which the colors saturate. Default: the 99th percentile of the magnitudes.
    signed
        Whether the map is signed.
    placement
        The rectangle of the photo that the map covers.
    caption
        Description of the target that the map explains.
    box
        Left, top, right and bottom of the explained detection in pixels of the photo, or None.
    """

    photo: Image.Image
    values: Float[Tensor, "*size"]
    signed: bool
    placement: Placement
    caption: str
    limit: float | None = None
    box: Sequence[float] | None = None

    def overlay(self, **style: Unpack[Style]) -> Image.Image:
        """Return the photo colored by the map, with a rectangle around the explained detection."""
        colored = overlay(
            self.photo, self.values, signed=self.signed, placement=self.placement, limit=self.limit, **style
        )
        return colored if self.box is None else with_box(colored, self.box)


@dataclass(frozen=True, eq=False)
class VolumePanel(Panel):
    """One map of a volume. The photo shows slices in a row, and the colors of all slices have the same scale.

    Attributes
    ----------
    slices
        The panel of each slice.
    """

    slices: tuple[Panel, ...] = ()

    @classmethod
    def of(cls, slices: Sequence[Panel], values: Float[Tensor, "D H W"]) -> "VolumePanel":
        """Return the panel of a volume with these slices."""
        photo = in_a_row([slices[index].photo for index in shown_slices(len(slices))])
        first = slices[0]
        return cls(photo, values, first.signed, first.placement, first.caption, first.limit, slices=tuple(slices))

    def overlay(self, **style: Unpack[Style]) -> Image.Image:
        """Return slices of the volume, colored by the map, in a row."""
        return in_a_row([self.slices[index].overlay(**style) for index in shown_slices(len(self.slices))])

    def frames(self, **style: Unpack[Style]) -> list[Image.Image]:
        """Return all slices of the volume, colored by the map."""
        return [panel.overlay(**style) for panel in self.slices]


def panels_of(maps: ViewedMaps, photos: Photos) -> Sequence[Panel]:
    """Return a panel for each image, and for each target of an image.

    Parameters
    ----------
    maps
        The maps.
    photos
        A photo for each image, or a single photo for a batch of one. Default: the images that the model received.

    Raises
    ------
    UnsuitableError
        If there are no photos and the images are not known.
    InputShapeError
        If there is not one photo for each image, or if the maps explain volumes and photos are passed.
    """
    if is_volume(maps):
        return volume_panels_of(maps, photos)
    own = None if photos is None else [as_photo(photo) for photo in listed(photos)]
    if own is not None and len(own) != len(maps):
        raise InputShapeError(f"expected a photo for each of {len(maps)} images, got {len(own)}")
    signed = is_signed(maps.raw)
    return [
        _panel(single, None if own is None else own[index], signed)
        for index in range(len(maps))
        for single in maps[index].each
    ]


def is_volume(maps: ViewedMaps) -> bool:
    """Return whether the maps explain volumes."""
    return maps.values.ndim - maps.constant.ndim == 3


def volume_panels_of(maps: ViewedMaps, photos: Photos) -> list[VolumePanel]:
    """Return a panel for each volume, and for each target of a volume. See `panels_of`."""
    if photos is not None:
        raise InputShapeError("maps of volumes are drawn on the volumes that the model received; pass no photos")
    signed = is_signed(maps.raw)
    return [_volume_panel(single, signed) for index in range(len(maps)) for single in maps[index].each]


def animation_frames(maps: ViewedMaps, style: Style) -> list[Image.Image]:
    """Return all slices of volumes, colored by the maps. The slices of several volumes are side by side.

    Raises
    ------
    UnsuitableError
        If the maps explain images, or the volumes are not known.
    """
    if not is_volume(maps):
        raise UnsuitableError("only maps of volumes and clips can be animated; use `save` for maps of images")
    frames = [panel.frames(**style) for panel in volume_panels_of(maps, None)]
    return [in_a_row(of_volumes) for of_volumes in zip(*frames, strict=True)]


def _volume_panel(single: ViewedMaps, signed: bool) -> VolumePanel:
    """Return the panel of the map of one volume and one target."""
    view, target = single.view, single.target
    assert not isinstance(target, tuple)
    photos = slices_of(view)
    values = (_scaled(single.raw, single.values) if signed else single.values)[0].cpu()
    limit, caption = limit_of(values.float().numpy()), "" if view is None else view.caption(0, target)
    whole = Placement(0, 0, *photos[0].size)
    panels = [Panel(photo, map_, signed, whole, caption, limit) for photo, map_ in zip(photos, values, strict=True)]
    return VolumePanel.of(panels, values)


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
    box = None
    if isinstance(target.measure, BoxMeasure):
        box = placement.in_photo(target.measure.boxes[0].tolist(), (values.shape[-2], values.shape[-1]))
    return Panel(photo, values[0], signed, placement, "" if view is None else view.caption(0, target), box=box)


def _scaled(raw: Float[Tensor, "1 *grid"], values: Float[Tensor, "1 *size"]) -> Float[Tensor, "1 *size"]:
    """Return signed relevance, resized to the resolution of `values` and divided by its largest magnitude."""
    resized = resize(raw, tuple(values.shape[1:]))
    return resized / resized.abs().amax().clamp(min=torch.finfo(resized.dtype).tiny)
