"""Images of a dataset with their targets, preprocessed for a model and optionally augmented."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import data as torch_data

import xai_core as xai
from xai_core import XAIError
from xai_core.plugin import Dataset
from xai_zoo.training.objectives import Objective
from xai_zoo.training.seeds import seed_of

if TYPE_CHECKING:
    from PIL.Image import Image

    AnyImage = Image | Tensor
    Augment = Callable[[Any], Any]
    AnyTarget = int | Tensor


class TrainingImages(torch_data.Dataset[tuple[Tensor, "AnyTarget"]]):
    """Pairs of a preprocessed image and its target, for some items of a dataset.

    Augmentation depends on the seed, the epoch and the item only. The number of loader processes has no influence.

    Parameters
    ----------
    data
        The dataset.
    items
        Indices of the items.
    loaded
        The model, whose `preprocess` converts an image to its input.
    objective
        Reads the target of a sample.
    augment
        Returns a random variant of an image.
    seed
        Random seed of the augmentation.
    keep
        Whether decoded images stay in memory. This has no influence on their values.
    """

    def __init__(
        self,
        data: Dataset,
        items: Sequence[int],
        loaded: xai.LoadedModel,
        objective: Objective,
        augment: "Augment | None" = None,
        seed: int = 0,
        keep: bool = False,
    ) -> None:
        self.epoch = 0
        self._data, self._items, self._augment, self._seed = data, items, augment, seed
        self._loaded, self._objective = loaded, objective
        self._kept = [_packed(*self._read(item)) for item in items] if keep else None

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> "tuple[Tensor, AnyTarget]":
        item = self._items[index]
        image, target = self._read(item) if self._kept is None else _unpacked(*self._kept[index])
        if self._augment is not None:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_of(self._seed, self.epoch, item))
                image = self._augment(image)
        return self._loaded.preprocess(image), target

    def _read(self, item: int) -> "tuple[AnyImage, AnyTarget]":
        sample = self._data[item]
        return sample.image, self._objective.target(self._loaded, sample)


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


def steps_per_epoch(count: int, batch: int) -> int:
    """Return the number of batches of `count` images. A last batch of one image is left out.

    Batch norm needs several values per channel, which one image may not have.
    """
    return max(1, -(-(count - 1) // batch)) if batch > 1 else count


def batches_of(
    images: TrainingImages, batch: int, workers: int, order: torch.Generator | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches of images and targets: all in their order, or those of an epoch in a random order."""
    drop = order is not None and steps_per_epoch(len(images), batch) * batch < len(images)
    loader = torch_data.DataLoader(
        images, batch, shuffle=order is not None, num_workers=workers, generator=order, drop_last=drop
    )
    try:
        yield from loader
    except XAIError as error:
        raise _without_traceback(error) from error


def _without_traceback(error: XAIError) -> XAIError:
    """Return an error with its own message. PyTorch adds the traceback to the message of an error in a worker."""
    kind = type(error)
    _, _, message = str(error).rpartition(f" {kind.__module__}.{kind.__qualname__}: ")
    return kind(message.strip()) if message else error


def _packed(image: "AnyImage", target: "AnyTarget") -> "tuple[AnyImage, AnyTarget]":
    """Return an image in 8 bits per value if this is exact, and otherwise unchanged."""
    if isinstance(image, Tensor):
        small = image.mul(255).round().byte()
        image = small if torch.equal(_floats(small), image) else image
    return image, target


def _unpacked(image: "AnyImage", target: "AnyTarget") -> "tuple[AnyImage, AnyTarget]":
    return (_floats(image) if isinstance(image, Tensor) and image.dtype == torch.uint8 else image), target


def _floats(image: Tensor) -> Tensor:
    return image.float() / 255
