"""Pictures as a model takes them, with their classes; augmented where asked."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import data as torch_data

from xai_core.plugin import Dataset, TargetError
from xai_zoo.training.seeds import seed_of

if TYPE_CHECKING:
    from PIL.Image import Image

    Picture = Image | Tensor
    Augment = Callable[[Any], Any]


class Pictures(torch_data.Dataset[tuple[Tensor, int]]):
    """Some items of a data set as (what `preprocess` makes of the image, class).

    Augmentation depends on the seed, the epoch and the item alone, not on who loads it.

    Parameters
    ----------
    items
        Which items: their places in the data set.
    keep
        Whether pictures, decoded, stay in memory: tensors as 8 bits.
    """

    def __init__(
        self,
        data: Dataset,
        items: Sequence[int],
        preprocess: "Callable[[Picture], Tensor]",
        augment: "Augment | None" = None,
        seed: int = 0,
        keep: bool = False,
    ) -> None:
        self.epoch = 0
        self._data, self._items, self._preprocess, self._augment, self._seed = data, items, preprocess, augment, seed
        self._kept = [_packed(*self._read(item)) for item in items] if keep else None

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        item = self._items[place]
        image, target = self._read(item) if self._kept is None else _unpacked(*self._kept[place])
        if self._augment is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_of(self._seed, self.epoch, item))
                image = self._augment(image)
        return self._preprocess(image), target

    def _read(self, item: int) -> "tuple[Picture, int]":
        sample = self._data[item]
        if sample.target is None:
            raise TargetError(f"{sample.id} has no class; expected a data set whose samples have targets")
        return sample.image, sample.target


def augmentation(crop: float, flip: float) -> "Augment":
    """Make the function that takes a random part of a picture, and mirrors it or not; it uses torch's generator.

    The part has at least the share `crop` of the area, and an aspect of 3/4 to 4/3 (Szegedy et al., 2015, section 6);
    the model's preprocessing brings it to its size.
    """
    from torchvision.transforms import RandomResizedCrop
    from torchvision.transforms.v2 import functional as v2

    def augment(image: Any) -> Any:
        if crop < 1:
            image = v2.crop(image, *RandomResizedCrop.get_params(image, [crop, 1], [3 / 4, 4 / 3]))
        return v2.horizontal_flip(image) if torch.rand(()).item() < flip else image

    return augment


def split(count: int, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Divide the places of `count` pictures into those to train on and a `share` of them, at random, to validate on."""
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).tolist()
    held_out = max(1, round(share * count))
    return sorted(order[held_out:]), sorted(order[:held_out])


def _packed(image: "Picture", target: int) -> "tuple[Picture, int]":
    return (image.mul(255).round().byte() if isinstance(image, Tensor) else image), target


def _unpacked(image: "Picture", target: int) -> "tuple[Picture, int]":
    return (image.float() / 255 if isinstance(image, Tensor) else image), target
