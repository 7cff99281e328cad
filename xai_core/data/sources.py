"""Where models and data come from: what a source gives, and what a plugin implements to be one."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from PIL.Image import Image
from torch import Tensor, nn


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model, ready to be explained.

    Attributes
    ----------
    model
        The module, in evaluation mode.
    preprocess
        Makes of a PIL image, or of a [C,H,W] tensor in [0,1], what the model takes: normalized [C,h,w].
    class_names
        A name for each class, or None where they are not known.
    restore
        The inverse of the normalization in `preprocess`: [...,C,h,w] -> [0,1], what the model sees, to show it.
    spec
        The spec that it was loaded by.
    """

    model: nn.Module
    preprocess: Callable[[Image | Tensor], Float[Tensor, "C h w"]]
    class_names: Sequence[str] | None = None
    restore: Callable[[Tensor], Tensor] | None = None
    spec: str = ""


@dataclass(frozen=True, eq=False)
class Sample:
    """One item of a data set.

    Attributes
    ----------
    image
        A PIL image, or a [C,H,W] tensor in [0,1].
    id
        What names it within its data set.
    target
        Its class, where known.
    mask
        [H,W] bool, of the upright image, true on what tells the class, as a rule the object that it names, where the
        truth is known.
    boxes
        [N,4] as (left, top, right, bottom) in pixels of the upright image, where known.
    distractors
        [D,H,W] bool, true on each thing that does not tell the class, where known.
    """

    image: Image | Tensor
    id: str
    target: int | None = None
    mask: Bool[Tensor, "H W"] | None = None
    boxes: Float[Tensor, "N 4"] | None = None
    distractors: Bool[Tensor, "D H W"] | None = None


@runtime_checkable
class Dataset(Protocol):
    """A map-style data set of samples. Nothing is decoded before it is asked for."""

    def __len__(self) -> int:
        """The number of samples."""
        ...

    def __getitem__(self, index: int, /) -> Sample:
        """The sample at `index`; raises `ImageFileError` where its file cannot be decoded."""
        ...


class ModelSource(ABC):
    """A source of models, `name:MODEL,option=value,...`, or just `name` for a source of one."""

    name: ClassVar[str]

    def names(self) -> Sequence[str]:
        """The models that it gives; empty for a source of one."""
        return ()

    @abstractmethod
    def load(self, name: str | None, **options: Any) -> LoadedModel:
        """Load a model.

        Raises
        ------
        UnknownModelError
            Where the source does not have it.
        CheckpointError
            Where a weights file cannot be read or does not fit.
        FileError
            Where a weights file does not exist.
        """


class DatasetSource(ABC):
    """A source of data, `name:WHERE,option=value,...`, or just `name` for a source of one."""

    name: ClassVar[str]

    @abstractmethod
    def load(self, name: str | None, **options: Any) -> Dataset:
        """Open a data set.

        Raises
        ------
        UnknownDatasetError
            Where the source does not have it.
        FileError
            Where a file or folder does not exist.
        """
