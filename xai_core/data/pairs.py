"""Converts any map-style dataset of (image, target) pairs to a dataset of samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL.Image import Image
from torch import Tensor

from xai_core.data.sources import Dataset, Sample
from xai_core.errors import InputRangeError, InputShapeError, InputTypeError

_PAIRS = "expected a map-style dataset of (image, target) pairs, such as torchvision's, or of samples"


@dataclass(frozen=True, eq=False)
class Pairs:
    """A dataset of (image, target) pairs as a dataset of samples. See `as_dataset`."""

    pairs: Any

    @property
    def class_names(self) -> Sequence[str] | None:
        """The names of the classes, if the dataset has `class_names` or `classes`."""
        for name in ("class_names", "classes"):
            if (names := getattr(self.pairs, name, None)) is not None:
                return list(names)
        return None

    @property
    def ids(self) -> Sequence[object] | None:
        """The ids of all items, if the dataset has `ids`."""
        ids = getattr(self.pairs, "ids", None)
        return ids if isinstance(ids, Sequence) and not isinstance(ids, str) and len(ids) == len(self) else None

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int, /) -> Sample:
        index = range(len(self))[index]
        item = self.pairs[index]
        if isinstance(item, Sample):
            return item
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise InputTypeError(f"item {index} is {_kind(item)}; {_PAIRS}")
        image, target = item
        return Sample(_image(image, index), str(self.ids[index] if self.ids else index), _target(target, index))


def as_dataset(pairs: Any) -> Dataset:
    """Convert a map-style dataset of (image, target) pairs, such as torchvision's, to a dataset of samples.

    An image is a PIL image, a tensor [C,H,W], or an array [H,W] or [H,W,C]. Tensors and arrays have 1 or 3 channels,
    and contain 8-bit integers or floats in [0,1]. A target is a class id or None. Items that are samples are returned
    unchanged. An item is read only when it is requested.

    The id of a sample is the item's entry in `ids` if the dataset has such an attribute, and otherwise its index: "0",
    "1", ... The `class_names` are the dataset's `class_names` or `classes`.

    Raises
    ------
    InputTypeError
        If the dataset has no length or cannot be indexed. An item of another type raises the error when it is read.
    InputShapeError
        If an image that is read has another shape.
    InputRangeError
        If a floating-point image that is read has values outside [0,1].
    """
    if isinstance(pairs, Pairs):
        return pairs
    is_map_style = hasattr(pairs, "__len__") and hasattr(pairs, "__getitem__")
    if not is_map_style or isinstance(pairs, Mapping | str | Tensor | np.ndarray):
        raise InputTypeError(f"{_kind(pairs)} is not a dataset that can be converted; {_PAIRS}")
    return Pairs(pairs)


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
        raise InputTypeError(
            f"the image of item {index} has the type {image.dtype}; expected 8-bit integers, or floats in [0,1]"
        )
    if not (image.min() >= 0 and image.max() <= 1):
        raise InputRangeError(
            f"the image of item {index} has values from {image.min():.3g} to {image.max():.3g}; expected [0,1]: omit"
            " the normalization, which the model's preprocess applies"
        )
    return image


def _target(target: object, index: int) -> int | None:
    if isinstance(target, Tensor | np.ndarray) and target.ndim == 0:
        target = target.item()
    if target is None or (isinstance(target, int | np.integer) and not isinstance(target, bool)):
        return None if target is None else int(target)
    raise InputTypeError(f"the target of item {index} is {_kind(target)}; expected a class id or None")


def _kind(value: object) -> str:
    """Describe the type of a value for an error message."""
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    if isinstance(value, Tensor | np.ndarray):
        return f"a {type(value).__name__} of {value.dtype} {list(value.shape)}"
    return f"of type {type(value).__name__}"
