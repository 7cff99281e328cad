"""The conformance checks of datasets: each finds an implementation that violates it, and a correct one passes."""

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch

import xai_core as xai
from support.conformance import assert_described, assert_finds, assert_passes, violations
from xai_core.plugin import Dataset, DatasetSource
from xai_core.testing import (
    check_dataset,
    datasets,
)


class GoodData:
    """Three images, with masks and boxes."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> xai.Sample:
        if not 0 <= index < 3:
            raise IndexError(index)
        mask = torch.zeros(8, 12, dtype=torch.bool)
        mask[2:4, 1 : 3 + index] = True
        image = torch.rand(3, 8, 12, generator=torch.Generator().manual_seed(index))
        box = torch.tensor([[1.0, 2.0, 3.0 + index, 4.0]])
        return xai.Sample(image, f"{index}", index, mask, box, mask[None])


class GoodSource(DatasetSource):
    """Source of `GoodData`."""

    name = "good"

    def load(self, name: str | None, **options: Any) -> Dataset:
        return GoodData()


class Changed(GoodData):
    """Dataset with samples changed by a function."""

    def __init__(self, change: Callable[[xai.Sample], Any]) -> None:
        self.change = change

    def __getitem__(self, index: int) -> xai.Sample:
        return self.change(super().__getitem__(index))


def having(**changes: Any) -> Dataset:
    return Changed(functools.partial(replaced, changes=changes))


def replaced(sample: xai.Sample, changes: dict[str, Any]) -> xai.Sample:
    from dataclasses import replace

    return replace(sample, **changes)


class Counting(GoodData):
    """Dataset with different images at each access."""

    def __getitem__(self, index: int) -> xai.Sample:
        return replaced(super().__getitem__(index), {"image": torch.rand(3, 8, 12)})


class Wrapping3(GoodData):
    """Dataset without an end."""

    def __getitem__(self, index: int) -> xai.Sample:
        return super().__getitem__(index % 3)


class Empty(GoodData):
    """Dataset without samples."""

    def __len__(self) -> int:
        return 0


class Keyed(GoodData):
    """Dataset that raises KeyError at its end."""

    def __getitem__(self, index: int) -> xai.Sample:
        return {i: GoodData()[i] for i in range(3)}[index]


class BadSource(GoodSource):
    """Source with an invalid name."""

    name = "Good data"


BAD_DATA: dict[str, list[tuple[Any, str]]] = {
    "has_valid_name": [(BadSource, "lower case")],
    "contains_samples": [
        (Empty(), "dataset is empty"),
        (Changed(lambda sample: sample.image), "must be an xai_core.Sample|no attribute"),
    ],
    "raises_index_error_at_end": [(Wrapping3(), "it returns a sample"), (Keyed(), "it raises KeyError")],
    "sample_ids_are_unique": [(having(id="one"), "more than one sample"), (having(id=3), "must be a nonempty string")],
    "images_are_valid": [
        (having(image=torch.rand(3, 8, 12) * 255), r"must be in \[0,1\]"),
        (having(image=torch.rand(8, 12)), "must be a PIL image"),
    ],
    "targets_are_class_ids": [
        (having(target="cat"), "must be a nonnegative int"),
        (having(target=-1), "must be a nonnegative int"),
        (having(target=True), "must be a nonnegative int"),
    ],
    "masks_match_their_image": [
        (having(mask=torch.ones(12, 8, dtype=torch.bool)), r"must be bool \[8, 12\]"),
        (having(mask=torch.ones(8, 12)), "must be bool"),
        (having(mask=torch.zeros(8, 12, dtype=torch.bool)), "is empty"),
        (having(distractors=torch.zeros(8, 12, dtype=torch.bool)), "distractors"),
    ],
    "boxes_lie_within_image": [
        (having(boxes=torch.tensor([[1.0, 2.0, 30.0, 4.0]])), "must have left < right"),
        (having(boxes=torch.tensor([[1, 2, 3, 4]])), "floating-point"),
    ],
    "is_deterministic": [(Counting(), "returned a different one")],
    "can_be_pickled": [(Changed(lambda sample: sample), "cannot be pickled")],
}


def test_an_implementation_that_keeps_the_contract_passes() -> None:
    assert_passes(check_dataset(GoodSource))


def test_checks_describe_themselves() -> None:
    assert_described(check_dataset(GoodSource))


def test_every_check_has_a_violation() -> None:
    assert list(BAD_DATA) == [check.__name__ for check in datasets.CHECKS]
    assert all(BAD_DATA.values())


@pytest.mark.parametrize(("name", "subject", "reason"), violations(BAD_DATA))
def test_a_violation_is_found(name: str, subject: Any, reason: str) -> None:
    assert_finds(check_dataset(subject), name, reason)
