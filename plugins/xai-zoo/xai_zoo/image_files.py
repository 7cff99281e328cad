"""A dataset of image files."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import xai_core as xai
from xai_core.plugin import open_image


class ImageFile(NamedTuple):
    """An image file, its id within the dataset, and its label if it is known."""

    path: Path
    id: str
    target: int | None = None


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Dataset of image files. Each is decoded on access, upright and in RGB."""

    files: Sequence[ImageFile]
    class_names: Sequence[str] | None = None

    @cached_property
    def ids(self) -> Sequence[str]:
        """Ids of all samples."""
        return [file.id for file in self.files]

    @property
    def targets(self) -> Sequence[int | None]:
        """Labels of all samples."""
        return [file.target for file in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int, /) -> xai.Sample:
        file = self.files[index]
        return xai.Sample(open_image(file.path), file.id, file.target)
