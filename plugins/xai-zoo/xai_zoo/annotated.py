"""A data set of image files in which the objects of one class are marked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional as F

import xai_core as xai
from xai_core.plugin import ImageFileError, filled, read_image

Box = tuple[float, float, float, float]
Mask = Bool[Tensor, "H W"]


class Marked(NamedTuple):
    """The objects of one class in an image file.

    Attributes
    ----------
    boxes
        (left, top, right, bottom) in pixels as stored.
    mask
        Gives the mask of all of them, of so many rows and columns, or None where there is none.
    size
        Width and height that the annotation is for, where it says so.
    """

    path: Path
    id: str
    target: int
    boxes: Sequence[Box]
    mask: Callable[[int, int], Mask | None]
    size: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class MarkedImages:
    """Image files with marked objects as a data set; image and mask are decoded when they are asked for.

    Where the mask is not known, or marks nothing, it is the filled boxes. An image that EXIF data turn is refused:
    nothing says whether it was marked as stored or upright. Where a large image is made smaller, so are boxes and mask.
    """

    items: Sequence[Marked]
    class_names: Sequence[str]

    @cached_property
    def ids(self) -> Sequence[str]:
        """The ids of all samples."""
        return [item.id for item in self.items]

    @property
    def targets(self) -> Sequence[int]:
        """The classes of all samples."""
        return [item.target for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int, /) -> xai.Sample:
        item = self.items[index]
        image, stored, turned = read_image(item.path)
        if turned:
            raise ImageFileError(
                f"{item.path} is stored turned (EXIF orientation), and nothing says whether its boxes are of the"
                " picture as stored or upright; store it upright"
            )
        width, height = stored
        boxes = torch.tensor(item.boxes, dtype=torch.float32).reshape(-1, 4)
        mask = item.mask(height, width)
        marked = item.size if mask is None else (mask.shape[1], mask.shape[0])
        for size in (item.size, marked):
            if size not in (None, stored):
                raise ImageFileError(f"{item.path} is {_by(stored)}, and what marks its objects is for {_by(size)}")
        if mask is None or not mask.any():
            mask = filled(boxes, height, width)
        if image.size != stored:
            boxes = boxes * torch.tensor([image.width / width, image.height / height]).repeat(2)
            mask = F.interpolate(mask[None, None].float(), (image.height, image.width), mode="nearest-exact")[0, 0] > 0
        return xai.Sample(image, item.id, item.target, mask, boxes)


def _by(size: tuple[int, int] | None) -> str:
    return "" if size is None else f"{size[0]}x{size[1]}"
