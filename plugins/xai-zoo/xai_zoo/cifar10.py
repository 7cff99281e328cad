"""CIFAR-10."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import xai_core as xai
from xai_core.plugin import DatasetSource, FileError, check_choice
from xai_zoo.paths import check_folder

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

SPLITS = ("train", "test")


@dataclass(frozen=True)
class Cifar10Dataset:
    """Samples of torchvision's CIFAR-10."""

    split: str
    _given: "CIFAR10"

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Names of the ten classes."""
        return tuple(self._given.classes)

    def __len__(self) -> int:
        return len(self._given)

    def __getitem__(self, index: int, /) -> xai.Sample:
        index = range(len(self))[index]
        image, target = self._given[index]
        return xai.Sample(image, f"{self.split}-{index}", target)


class Cifar10(DatasetSource):
    """CIFAR-10 (Krizhevsky, 2009) from a local folder: `cifar10:FOLDER`, `cifar10:FOLDER,split=train`.

    The folder is the download folder of torchvision, which contains `cifar-10-batches-py`.

    Options: `split` is `test` (default) or `train`.
    """

    name = "cifar10"

    def load(  # type: ignore[override] # the registry rejects other options
        self, name: str | None, path: str | Path | None = None, split: str = "test"
    ) -> Cifar10Dataset:
        from torchvision.datasets import CIFAR10

        folder = check_folder("cifar10:FOLDER", name, path)
        check_choice("split", split, SPLITS)
        try:
            return Cifar10Dataset(split, CIFAR10(folder, train=split == "train"))
        except (RuntimeError, OSError) as error:
            raise FileError(
                f"{folder} does not contain all of CIFAR-10; expected `{CIFAR10.base_folder}` in it, as"
                " torchvision.datasets.CIFAR10(folder, download=True) creates it"
            ) from error
