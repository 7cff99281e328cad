"""The promises of data sets and of their sources."""

import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from xai_core.data.sources import Dataset, DatasetSource, Sample
from xai_core.testing.check import Check, checks_of, require
from xai_core.testing.described import declared, require_docstring, require_name

LOOKED_AT = 50
"""How many samples are looked at."""


def check_dataset(
    data: type[DatasetSource] | DatasetSource | Dataset,
    where: str | None = None,
    expected_failures: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[Check]:
    """The promises of a data set, one check each, tried on its first samples.

    Parameters
    ----------
    data
        A source, by class or object, or a data set.
    where
        What the source is asked to open: a folder, a file, a name, or nothing.
    expected_failures
        Names of checks that it cannot pass, each with the reason; with those that its class declares in an attribute
        `expected_failures`.
    options
        Options of `load`.
    """
    data = data() if isinstance(data, type) else data
    called = data.name if isinstance(data, DatasetSource) else type(data).__name__
    return checks_of(called, DatasetCase(data, where, options), PROMISES, declared(data, expected_failures))


@dataclass
class DatasetCase:
    """A data set, or what opens it."""

    given: DatasetSource | Dataset
    where: str | None
    options: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def data(self) -> Dataset:
        """The data set."""
        if isinstance(self.given, DatasetSource):
            return self.given.load(self.where, **self.options)
        return self.given

    @cached_property
    def samples(self) -> list[Sample]:
        """Its first samples."""
        return [self.data[index] for index in range(min(len(self.data), LOOKED_AT))]

    def each(self) -> Iterator[tuple[str, Sample, tuple[int, int]]]:
        """Each of them, with what it is called and the (H, W) of its image."""
        for index, sample in enumerate(self.samples):
            image = sample.image
            size = (image.height, image.width) if isinstance(image, Image.Image) else (image.shape[-2], image.shape[-1])
            yield f"sample {index}", sample, size


def has_a_name(case: DatasetCase) -> None:
    """A source's name is lower case with hyphens, and the docstring's first line says what it opens."""
    if isinstance(case.given, DatasetSource):
        require_name(case.given)
        require_docstring(type(case.given))


def holds_samples(case: DatasetCase) -> None:
    """It has a length, of at least one, and items that are samples."""
    require(isinstance(case.data, Dataset), "a data set has `__len__` and `__getitem__`")
    require(len(case.data) > 0, "it is empty")
    for called, sample, _ in case.each():
        require(isinstance(sample, Sample), f"{called} must be an xai_core.Sample; it is {type(sample).__name__}")


def ends_where_it_says(case: DatasetCase) -> None:
    """The index of its length raises IndexError."""
    try:
        case.data[len(case.data)]
    except IndexError:
        return
    except Exception as error:
        require(False, f"data[{len(case.data)}] of {len(case.data)} raises {type(error).__name__}, not IndexError")
    require(False, f"data[{len(case.data)}] of {len(case.data)} gives a sample; raise IndexError")


def names_each_sample(case: DatasetCase) -> None:
    """Ids are strings, each of one sample, which rows of a benchmark are named by."""
    ids = [sample.id for sample in case.samples]
    wrong = [one for one in ids if not (isinstance(one, str) and one)]
    require(not wrong, f"an id is a string that is not empty; one is {wrong[:1]}")
    twice = [one for one in ids if ids.count(one) > 1]
    require(not twice, f"more than one sample has the id {twice[:1]}")


def images_are_images(case: DatasetCase) -> None:
    """Images are of PIL, or floating-point tensors [C,H,W] in [0,1]."""
    for called, sample, _ in case.each():
        image = sample.image
        if isinstance(image, Image.Image):
            continue
        require(
            isinstance(image, Tensor) and image.ndim == 3 and image.is_floating_point(),
            f"the image of {called} must be of PIL or a floating-point tensor [C,H,W]; it is "
            f"{image.dtype} {list(image.shape)}"
            if isinstance(image, Tensor)
            else f"it is {type(image).__name__}",
        )
        low, high = image.amin().item(), image.amax().item()
        require(low >= 0 and high <= 1, f"the image of {called} has values from {low:.2g} to {high:.2g}, not in [0,1]")


def targets_are_classes(case: DatasetCase) -> None:
    """A target is a class id, an int from 0, or None."""
    for called, sample, _ in case.each():
        target: object = sample.target
        fits = target is None or (isinstance(target, int) and not isinstance(target, bool) and target >= 0)
        require(fits, f"the target of {called} must be an int from 0, or None; it is {target!r}")


def masks_cover_their_image(case: DatasetCase) -> None:
    """A mask is bool [H,W] at the image's size, true somewhere; distractors are bool [D,H,W]."""
    for called, sample, size in case.each():
        if sample.mask is not None:
            require(
                sample.mask.dtype == torch.bool and tuple(sample.mask.shape) == size,
                f"the mask of {called} must be bool {list(size)}; it is {sample.mask.dtype} {list(sample.mask.shape)}",
            )
            require(
                bool(sample.mask.any()), f"the mask of {called} is true nowhere; give None where the truth is unknown"
            )
        if sample.distractors is not None:
            require(
                sample.distractors.dtype == torch.bool and tuple(sample.distractors.shape[1:]) == size,
                f"the distractors of {called} must be bool [D,{size[0]},{size[1]}]; they are "
                f"{sample.distractors.dtype} {list(sample.distractors.shape)}",
            )


def boxes_are_in_their_image(case: DatasetCase) -> None:
    """Boxes are floating-point [N,4]: left, top, right, bottom in pixels, within the image."""
    for called, sample, (height, width) in case.each():
        if sample.boxes is None:
            continue
        boxes = sample.boxes
        require(
            boxes.is_floating_point() and boxes.ndim == 2 and boxes.shape[1] == 4,
            f"the boxes of {called} must be floating-point [N,4]; they are {boxes.dtype} {list(boxes.shape)}",
        )
        left, top, right, bottom = boxes.unbind(1)
        inside = (left >= 0) & (top >= 0) & (right <= width) & (bottom <= height) & (left < right) & (top < bottom)
        require(
            bool(inside.all()),
            f"a box of {called} is not left < right, top < bottom within {width} x {height}: "
            f"{boxes[~inside][:1].tolist()}",
        )


def the_same_item_twice_is_the_same(case: DatasetCase) -> None:
    """A sample does not depend on when or how often it is asked for."""
    last = len(case.samples) - 1
    for index in {0, last}:
        require(_alike(case.data[index], case.samples[index]), f"sample {index} is another when asked for again")


def can_be_sent_to_workers(case: DatasetCase) -> None:
    """It can be pickled, and gives the same samples afterwards, as loading ahead and Ray need."""
    try:
        sent = pickle.loads(pickle.dumps(case.data))
    except Exception as error:
        require(False, f"it cannot be pickled: {type(error).__name__}: {error}")
    else:
        require(len(sent) == len(case.data), f"it has {len(case.data)} samples here and {len(sent)} in a worker")
        require(_alike(sent[0], case.samples[0]), "sample 0 is another one in a worker")


def _alike(one: Sample, other: Sample) -> bool:
    return (one.id, one.target) == (other.id, other.target) and np.array_equal(_array(one), _array(other))


def _array(sample: Sample) -> Any:
    return np.asarray(sample.image) if isinstance(sample.image, Image.Image) else sample.image.numpy()


PROMISES: tuple[Callable[[DatasetCase], None], ...] = (
    has_a_name,
    holds_samples,
    ends_where_it_says,
    names_each_sample,
    images_are_images,
    targets_are_classes,
    masks_cover_their_image,
    boxes_are_in_their_image,
    the_same_item_twice_is_the_same,
    can_be_sent_to_workers,
)
