"""Samples and loaded models, and the base classes of the sources that provide them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from jaxtyping import Bool, Float
from PIL.Image import Image
from torch import Tensor, nn

from xai_core.data.images import upright


@dataclass(frozen=True, eq=False, repr=False)
class LoadedModel:
    """A model with its preprocessing.

    Attributes
    ----------
    model
        The module, in evaluation mode.
    preprocess
        Converts a PIL image, or a [C,H,W] tensor in [0,1], to the model's input: a normalized tensor [C,h,w]. For a
        model of volumes, converts a tensor [C,D,H,W] to [C,d,h,w].
    class_names
        A name for each class, or None if the names are not known.
    restore
        The inverse of the normalization in `preprocess`: from [...,C,h,w] to [0,1], to display the model's input.
    spec
        The spec that the model was loaded by.
    source_files
        The files of the user's code that built the model. Benchmarks record a hash of them.
    tokenizer
        The tokenizer of a model that compares images with texts, or None. See `Engine`.
    """

    model: nn.Module
    preprocess: Callable[[Image | Tensor], Float[Tensor, "C *size"]]
    class_names: Sequence[str] | None = None
    restore: Callable[[Tensor], Tensor] | None = None
    spec: str = ""
    source_files: Sequence[Path] = ()
    tokenizer: Callable[..., Any] | None = None

    def __repr__(self) -> str:
        spec = f"{_shortened(self.spec)!r}, " if self.spec else ""
        classes = "unnamed classes" if self.class_names is None else f"{len(self.class_names)} classes"
        return f"LoadedModel({spec}{type(self.model).__name__}, {classes})"

    def _repr_html_(self) -> str:
        from xai_core.html import facts

        names = "not known" if self.class_names is None else ", ".join(self.class_names[:5])
        classes = "" if self.class_names is None else f" ({len(self.class_names)} classes)"
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        return facts(
            _shortened(self.spec) or "LoadedModel",
            {
                "model": type(self.model).__name__,
                "parameters": f"{parameters:,}",
                "class names": names + ("" if len(self.class_names or ()) <= 5 else ", ...") + classes,
            },
        )


@dataclass(frozen=True, eq=False, repr=False)
class Sample:
    """One item of a dataset.

    Attributes
    ----------
    image
        A PIL image, or a [C,H,W] tensor in [0,1]. A PIL image is rotated upright, as its EXIF data specify. A volume
        or clip is a [C,D,H,W] tensor, and its mask is [D,H,W].
    id
        The identifier of the sample within its dataset.
    target
        The id of its class (its label), or None if it is not known.
    mask
        [H,W] bool, of the upright image: the ground-truth mask, true on the pixels that determine the class, usually
        the object. None if there is no ground truth.
    boxes
        [N,4] as (left, top, right, bottom) in pixels of the upright image, or None.
    distractors
        [N,H,W] bool, each true on an object that does not determine the class, or None.
    text
        A text that describes the image or the object in the mask, or None.
    """

    image: Image | Tensor
    id: str
    target: int | None = None
    mask: Bool[Tensor, "*size"] | None = None
    boxes: Float[Tensor, "N 4"] | None = None
    distractors: Bool[Tensor, "N *size"] | None = None
    text: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.image, Image):
            object.__setattr__(self, "image", upright(self.image))

    def __repr__(self) -> str:
        if isinstance(self.image, Tensor):
            image = str(list(self.image.shape))
        else:
            image = f"{self.image.mode} {self.image.width}x{self.image.height}"
        optional = {
            "mask": None if self.mask is None else list(self.mask.shape),
            "boxes": None if self.boxes is None else len(self.boxes),
            "distractors": None if self.distractors is None else len(self.distractors),
            "text": None if self.text is None else repr(_shortened(self.text)),
        }
        shown = "".join(f", {name}={value}" for name, value in optional.items() if value is not None)
        return f"Sample({_shortened(self.id)!r}, image={image}, target={self.target}{shown})"

    def _repr_html_(self) -> str:
        from xai_core.data.pixels import to_pil
        from xai_core.html import figures

        image = to_pil(self.image) if isinstance(self.image, Tensor) else self.image.convert("RGB")
        image.thumbnail((240, 240))
        target = "" if self.target is None else f"\ntarget: {self.target}"
        return figures([(image, _shortened(self.id) + target)])


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:40] + "..." + text[-37:]


@runtime_checkable
class Dataset(Protocol):
    """A map-style dataset of samples. An image is decoded only when its sample is requested."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, index: int, /) -> Sample:
        """Return the sample at `index`, or raise `ImageFileError` if its file cannot be decoded."""
        ...


class ModelSource(ABC):
    """Base class of sources of models.

    The spec of a model is `name:MODEL,option=value,...`, or `name:option=value,...` for a source of one model.
    """

    name: ClassVar[str]

    def names(self) -> Sequence[str]:
        """Return the names of the models, or an empty sequence if the source has only one model."""
        return ()

    @abstractmethod
    def load(self, name: str | None, **options: Any) -> LoadedModel:
        """Load a model.

        Raises
        ------
        UnknownModelError
            If the source does not have the model.
        CheckpointError
            If a weights file cannot be read or does not match the model.
        FileError
            If a weights file does not exist.
        """


class DatasetSource(ABC):
    """Base class of sources of datasets.

    The spec of a dataset is `name:WHERE,option=value,...`, or `name:option=value,...` for a source of one dataset.
    """

    name: ClassVar[str]

    @abstractmethod
    def load(self, name: str | None, **options: Any) -> Dataset:
        """Open a dataset.

        Raises
        ------
        UnknownDatasetError
            If the source does not have the dataset.
        FileError
            If a file or folder does not exist.
        """
