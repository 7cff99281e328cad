"""Conformance checks of datasets and dataset sources."""

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
from xai_core.error_text import described
from xai_core.testing.check import Check, build_checks, require
from xai_core.testing.class_metadata import declared_failures, require_docstring, require_name

SAMPLES = 50
"""Number of samples to test, from the start of the dataset."""


def check_dataset(
    data: type[DatasetSource] | DatasetSource | Dataset,
    name: str | None = None,
    expected_failures: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[Check]:
    """Return the conformance checks of a dataset. They read its first 50 samples.

    Parameters
    ----------
    data
        A dataset, or a source as a class or an object.
    name
        First argument of `load` of the source, such as the path of a folder or the name of a dataset.
    expected_failures
        Checks that the dataset cannot pass: a dict from the name of each check to the reason. It extends the class
        attribute `expected_failures`.
    options
        Options of `load`.
    """
    data = data() if isinstance(data, type) else data
    component = data.name if isinstance(data, DatasetSource) else type(data).__name__
    return build_checks(component, DatasetCase(data, name, options), CHECKS, declared_failures(data, expected_failures))


@dataclass
class DatasetCase:
    """A dataset, or a source with the arguments of its `load`.

    Attributes
    ----------
    source
        The dataset, or the source that loads it.
    name
        First argument of `load`.
    options
        Options of `load`.
    """

    source: DatasetSource | Dataset
    name: str | None
    options: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def data(self) -> Dataset:
        """The dataset."""
        if isinstance(self.source, DatasetSource):
            return self.source.load(self.name, **self.options)
        return self.source

    @cached_property
    def samples(self) -> list[Sample]:
        """The first samples of the dataset."""
        return [self.data[index] for index in range(min(len(self.data), SAMPLES))]

    def each(self) -> Iterator[tuple[str, Sample, tuple[int, ...]]]:
        """Yield each sample with its label in messages and the (H, W) of its image, or the (D, H, W) of its volume."""
        for index, sample in enumerate(self.samples):
            image = sample.image
            size = (image.height, image.width) if isinstance(image, Image.Image) else tuple(image.shape[1:])
            yield f"sample {index}", sample, size


def has_valid_name(case: DatasetCase) -> None:
    """The name of a source is lower case with hyphens, and its class has a docstring of its own."""
    if isinstance(case.source, DatasetSource):
        require_name(case.source)
        require_docstring(type(case.source))


def contains_samples(case: DatasetCase) -> None:
    """The dataset has at least one element, and each element is a Sample."""
    require(isinstance(case.data, Dataset), "a dataset must have the methods `__len__` and `__getitem__`")
    require(len(case.data) > 0, "the dataset is empty; expected at least one sample")
    for label, sample, _ in case.each():
        require(isinstance(sample, Sample), f"{label} must be an xai_core.Sample; it is {type(sample).__name__}")


def raises_index_error_at_end(case: DatasetCase) -> None:
    """`data[len(data)]` raises IndexError."""
    count = len(case.data)
    try:
        case.data[count]
    except IndexError:
        return
    except Exception as error:
        require(False, f"data[{count}], after the last sample, must raise IndexError; it raises {type(error).__name__}")
    require(False, f"data[{count}], after the last sample, must raise IndexError; it returns a sample")


def sample_ids_are_unique(case: DatasetCase) -> None:
    """Each sample has its own id, a nonempty string. Benchmarks identify rows by it."""
    ids = [sample.id for sample in case.samples]
    invalid = [sample_id for sample_id in ids if not (isinstance(sample_id, str) and sample_id)]
    require(not invalid, f"the id of a sample must be a nonempty string; it is {invalid[0] if invalid else None!r}")
    repeated = [sample_id for sample_id in ids if ids.count(sample_id) > 1]
    require(not repeated, f"more than one sample has the id {repeated[0] if repeated else None!r}")


def images_are_valid(case: DatasetCase) -> None:
    """An image is a PIL image or a floating-point tensor [C,H,W] or [C,D,H,W] with values in [0,1]."""
    for label, sample, _ in case.each():
        image = sample.image
        if isinstance(image, Image.Image):
            continue
        received = f"{image.dtype} {list(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
        require(
            isinstance(image, Tensor) and image.ndim in (3, 4) and image.is_floating_point(),
            f"the image of {label} must be a PIL image or a floating-point tensor [C,H,W] or [C,D,H,W]; it is "
            f"{received}",
        )
        low, high = image.amin().item(), image.amax().item()
        require(
            low >= 0 and high <= 1,
            f"the values of the image of {label} must be in [0,1]; they range from {low:.2g} to {high:.2g}",
        )


def targets_are_class_ids(case: DatasetCase) -> None:
    """A target is a class id, a nonnegative int, or None."""
    for label, sample, _ in case.each():
        target: object = sample.target
        valid = target is None or (isinstance(target, int) and not isinstance(target, bool) and target >= 0)
        require(valid, f"the target of {label} must be a nonnegative int or None; it is {target!r}")


def masks_match_their_image(case: DatasetCase) -> None:
    """A mask is bool [H,W] with the size of its image and at least one True pixel. `distractors` is bool [N,H,W]."""
    for label, sample, size in case.each():
        if sample.mask is not None:
            require(
                sample.mask.dtype == torch.bool and tuple(sample.mask.shape) == size,
                f"the mask of {label} must be bool {list(size)}; it is {sample.mask.dtype} {list(sample.mask.shape)}",
            )
            require(bool(sample.mask.any()), f"the mask of {label} is empty; use None if there is no ground-truth mask")
        if sample.distractors is not None:
            require(
                sample.distractors.dtype == torch.bool and tuple(sample.distractors.shape[1:]) == size,
                f"the distractors of {label} must be bool [N,{','.join(map(str, size))}]; they are "
                f"{sample.distractors.dtype} {list(sample.distractors.shape)}",
            )


def boxes_lie_within_image(case: DatasetCase) -> None:
    """Boxes are floating-point [N,4]: left, top, right, bottom in pixels, within the image."""
    for label, sample, size in case.each():
        if sample.boxes is None:
            continue
        require(len(size) == 2, f"{label} is a volume, which has no boxes; expected None")
        height, width = size
        boxes = sample.boxes
        require(
            boxes.is_floating_point() and boxes.ndim == 2 and boxes.shape[1] == 4,
            f"the boxes of {label} must be floating-point [N,4]; they are {boxes.dtype} {list(boxes.shape)}",
        )
        left, top, right, bottom = boxes.unbind(1)
        inside = (left >= 0) & (top >= 0) & (right <= width) & (bottom <= height) & (left < right) & (top < bottom)
        require(
            bool(inside.all()),
            f"each box of {label} must have left < right and top < bottom, within the image of {height}x{width} "
            f"pixels (height x width); got (left, top, right, bottom) = {boxes[~inside][:1].tolist()}",
        )


def is_deterministic(case: DatasetCase) -> None:
    """Repeated access to an index returns the same sample."""
    last = len(case.samples) - 1
    for index in {0, last}:
        require(
            _equal(case.data[index], case.samples[index]),
            f"data[{index}] must return the same sample each time; a repeated access returned a different one",
        )


def can_be_pickled(case: DatasetCase) -> None:
    """The dataset can be pickled, and the copy has the same samples. Ray and DataLoader workers require this."""
    try:
        loaded = pickle.loads(pickle.dumps(case.data))
    except Exception as error:
        require(False, f"the dataset cannot be pickled: {described(error)}")
    else:
        require(
            len(loaded) == len(case.data),
            f"a pickled copy must have as many samples as the dataset, {len(case.data)}; it has {len(loaded)}",
        )
        require(_equal(loaded[0], case.samples[0]), "sample 0 of a pickled copy differs from sample 0 of the dataset")


def _equal(first: Sample, second: Sample) -> bool:
    same_row = (first.id, first.target) == (second.id, second.target)
    return same_row and np.array_equal(_pixels(first), _pixels(second))


def _pixels(sample: Sample) -> Any:
    return np.asarray(sample.image) if isinstance(sample.image, Image.Image) else sample.image.numpy()


CHECKS: tuple[Callable[[DatasetCase], None], ...] = (
    has_valid_name,
    contains_samples,
    raises_index_error_at_end,
    sample_ids_are_unique,
    images_are_valid,
    targets_are_class_ids,
    masks_match_their_image,
    boxes_lie_within_image,
    is_deterministic,
    can_be_pickled,
)
