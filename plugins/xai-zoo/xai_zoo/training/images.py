"""Labeled images of a dataset, preprocessed for a model and optionally augmented."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import data as torch_data

from xai_core.plugin import Dataset, TargetError
from xai_zoo.training.seeds import seed_of

if TYPE_CHECKING:
    from PIL.Image import Image

    AnyImage = Image | Tensor
    Augment = Callable[[Any], Any]


class TrainingImages(torch_data.Dataset[tuple[Tensor, int]]):
    """Pairs of a preprocessed image and its label, for some items of a dataset.

    Augmentation depends on the seed, the epoch and the item only. The number of loader processes has no influence.

    Parameters
    ----------
    data
        The dataset.
    items
        Indices of the items.
    preprocess
        Converts an image to the model's input.
    augment
        Returns a random variant of an image.
    seed
        Random seed of the augmentation.
    keep
        Whether decoded images stay in memory, as tensors with 8 bits per value.
    """

    def __init__(
        self,
        data: Dataset,
        items: Sequence[int],
        preprocess: "Callable[[AnyImage], Tensor]",
        augment: "Augment | None" = None,
        seed: int = 0,
        keep: bool = False,
    ) -> None:
        self.epoch = 0
        self._data, self._items, self._preprocess, self._augment, self._seed = data, items, preprocess, augment, seed
        self._kept = [_packed(*self._read(item)) for item in items] if keep else None

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        item = self._items[index]
        image, target = self._read(item) if self._kept is None else _unpacked(*self._kept[index])
        if self._augment is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_of(self._seed, self.epoch, item))
                image = self._augment(image)
        return self._preprocess(image), target

    def _read(self, item: int) -> "tuple[AnyImage, int]":
        sample = self._data[item]
        if sample.target is None:
            raise TargetError(f"{sample.id} has no label; expected a dataset with a label for each image")
        return sample.image, sample.target


def augmentation(crop: float, flip: float) -> "Augment":
    """Return a function that crops an image at random and flips it with a probability, using torch's generator.

    The crop has at least the fraction `crop` of the area, and an aspect ratio of 3/4 to 4/3 (Szegedy et al., 2015,
    section 6). The model's preprocessing resizes it.
    """
    from torchvision.transforms import RandomResizedCrop
    from torchvision.transforms.v2 import functional as v2

    def augment(image: Any) -> Any:
        if crop < 1:
            image = v2.crop(image, *RandomResizedCrop.get_params(image, [crop, 1], [3 / 4, 4 / 3]))
        return v2.horizontal_flip(image) if torch.rand(()).item() < flip else image

    return augment


def split(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Split the indices of `count` images at random: a `share` for validation, and the rest for training."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    held_out = max(1, round(share * count))
    return sorted(order[held_out:]), sorted(order[:held_out])


def _packed(image: "AnyImage", target: int) -> "tuple[AnyImage, int]":
    return (image.mul(255).round().byte() if isinstance(image, Tensor) else image), target


def _unpacked(image: "AnyImage", target: int) -> "tuple[AnyImage, int]":
    return (image.float() / 255 if isinstance(image, Tensor) else image), target
