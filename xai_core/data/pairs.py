"""Takes any map-style data set of (image, target) pairs as a data set of samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from xai_core.data.sources import Dataset, Sample
from xai_core.errors import InputShapeError, InputTypeError

_PAIRS = "expected a map-style data set of (image, target) pairs, as torchvision's are, or of samples"


@dataclass(frozen=True, eq=False)
class Pairs:
    """A data set of (image, target) pairs as one of samples; an id is what `ids` says, or the item's place."""

    given: Any

    @property
    def class_names(self) -> Sequence[str] | None:
        """The names of the classes, where the data set says them."""
        for name in ("class_names", "classes"):
            if (names := getattr(self.given, name, None)) is not None:
                return list(names)
        return None

    @property
    def ids(self) -> Sequence[object] | None:
        """The ids of all items, where the data set says them."""
        ids = getattr(self.given, "ids", None)
        return ids if isinstance(ids, Sequence) and not isinstance(ids, str) and len(ids) == len(self) else None

    def __len__(self) -> int:
        return len(self.given)

    def __getitem__(self, index: int, /) -> Sample:
        index = range(len(self))[index]
        item = self.given[index]
        if isinstance(item, Sample):
            return item
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise InputTypeError(f"item {index} is {_kind(item)}; {_PAIRS}")
        image, target = item
        return Sample(_image(image, index), str(self.ids[index] if self.ids else index), _target(target, index))


def as_dataset(given: Any) -> Dataset:
    """Take a `torch.utils.data.Dataset`, torchvision's or your own, of (image, target) pairs as a data set of samples.

    An image is a PIL image; a tensor [C,H,W] or an array [H,W] or [H,W,C], of 8 bits or in [0,1], with 1 or 3 channels.
    A target is a class id, or None. Ids are the places, "0", "1", ..., unless the data set has `ids`; `class_names` is
    what it calls `classes`. Items that are samples already stay as they are. Nothing is read before it is asked for.

    Raises
    ------
    InputTypeError
        Where it has no length or no items by place; and, when it is asked for, where an item is of another kind.
    InputShapeError
        Where an image is of another shape, when it is asked for.
    """
    if isinstance(given, Pairs):
        return given
    countable = hasattr(given, "__len__") and hasattr(given, "__getitem__")
    if not countable or isinstance(given, Mapping | str | Tensor | np.ndarray):
        raise InputTypeError(f"{_kind(given)} is not a data set that can be read here; {_PAIRS}")
    return Pairs(given)


def _image(image: object, index: int) -> Image | Float[Tensor, "C H W"]:
    if isinstance(image, Image):
        return image
    if isinstance(image, np.ndarray):
        image = torch.from_numpy(np.ascontiguousarray(image))
        image = image[None] if image.ndim == 2 else image.movedim(-1, 0)
    if not isinstance(image, Tensor):
        raise InputTypeError(f"the image of item {index} is {_kind(image)}; expected a PIL image, tensor or array")
    if image.ndim != 3 or len(image) not in (1, 3) or 0 in image.shape:
        raise InputShapeError(
            f"the image of item {index} is {list(image.shape)}; expected a tensor [C,H,W] or an array [H,W,C] with 1 or"
            " 3 channels"
        )
    if image.dtype == torch.uint8:
        return image / 255
    if not image.is_floating_point():
        raise InputTypeError(f"the image of item {index} is of {image.dtype}; expected 8 bits, or numbers in [0,1]")
    if not (image.min() >= 0 and image.max() <= 1):
        raise InputTypeError(
            f"the image of item {index} goes from {image.min():.3g} to {image.max():.3g}; expected [0,1]: leave"
            " the normalization to the model's preprocess"
        )
    return image


def _target(target: object, index: int) -> int | None:
    if isinstance(target, Tensor | np.ndarray) and target.ndim == 0:
        target = target.item()
    if target is None or (isinstance(target, int | np.integer) and not isinstance(target, bool)):
        return None if target is None else int(target)
    raise InputTypeError(f"the target of item {index} is {_kind(target)}; expected a class id, or None")


def _kind(given: object) -> str:
    """What something is, for an error message."""
    if isinstance(given, tuple | list):
        return f"a {type(given).__name__} of {len(given)}"
    if isinstance(given, Tensor | np.ndarray):
        return f"a {type(given).__name__} of {given.dtype} {list(given.shape)}"
    return f"of type {type(given).__name__}"
