"""A dataset of image files with annotated objects of one class each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

import xai_core as xai
from xai_core.plugin import ImageFileError, box_mask, read_image

Box = tuple[float, float, float, float]
Mask = Bool[Tensor, "H W"]


class AnnotatedImage(NamedTuple):
    """Annotated objects of one class in an image file.

    Attributes
    ----------
    boxes
        (left, top, right, bottom) in pixels of the stored image.
    mask
        Returns the mask of all objects for a height and width, or None if the annotation contains no mask. Raises
        ValueError if the mask is damaged.
    size
        Width and height of the image according to the annotation, if it contains them.
    """

    path: Path
    id: str
    target: int
    boxes: Sequence[Box]
    mask: Callable[[int, int], Mask | None]
    size: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class AnnotatedImages:
    """Dataset of image files with annotated objects. Images and masks are decoded on access.

    If an image has no mask, or an empty one, the boxes are filled. Images with an EXIF rotation raise an error, because
    the annotation may refer to the stored or to the upright image. If a large image is scaled down, its boxes and mask
    are scaled too.
    """

    items: Sequence[AnnotatedImage]
    class_names: Sequence[str]

    @cached_property
    def ids(self) -> Sequence[str]:
        """Ids of all samples."""
        return [item.id for item in self.items]

    @property
    def targets(self) -> Sequence[int]:
        """Labels of all samples."""
        return [item.target for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int, /) -> xai.Sample:
        item = self.items[index]
        image, stored, turned = read_image(item.path)
        if turned:
            raise ImageFileError(
                f"{item.path} has an EXIF rotation, and it is unknown whether its boxes refer to the stored or the"
                " upright image; save the image upright"
            )
        width, height = stored
        _require_size(item, item.size, stored)
        for box in item.boxes:
            if not _touches(box, width, height):
                raise ImageFileError(f"the annotation {item.id} of {item.path} has a box outside of the image: {box}")
        boxes = torch.tensor(item.boxes, dtype=torch.float32).reshape(-1, 4)
        try:
            mask = item.mask(height, width)
        except ValueError as error:
            raise ImageFileError(f"the annotation {item.id} of {item.path} has a damaged mask: {error}") from error
        _require_size(item, None if mask is None else (mask.shape[1], mask.shape[0]), stored)
        if mask is None or not mask.any():
            mask = box_mask(boxes, height, width)
        if image.size != stored:
            boxes = boxes * torch.tensor([image.width / width, image.height / height]).repeat(2)
            mask = F.interpolate(mask[None, None].float(), (image.height, image.width), mode="nearest-exact")[0, 0] > 0
        return xai.Sample(image, item.id, item.target, mask, boxes)


def _require_size(item: AnnotatedImage, annotated: tuple[int, int] | None, stored: tuple[int, int]) -> None:
    if annotated not in (None, stored):
        raise ImageFileError(f"{item.path} has {_by(stored)} pixels, but its annotation is for {_by(annotated)} pixels")


def _by(size: tuple[int, int] | None) -> str:
    return "" if size is None else f"{size[0]}x{size[1]}"


def _touches(box: Box, width: int, height: int) -> bool:
    """Return whether a box touches a pixel of an image."""
    left, top, right, bottom = box
    return max(0, floor(left)) < min(width, ceil(right)) and max(0, floor(top)) < min(height, ceil(bottom))
