"""The view of a batch that is drawn: the images, and the names and probabilities of the classes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from jaxtyping import Float
from PIL import Image
from torch import Tensor

from xai_core.batched import Batched
from xai_core.data.class_names import class_name
from xai_core.data.pixels import to_pil
from xai_core.data.sources import LoadedModel
from xai_core.errors import ModelOutputError, UnsuitableError
from xai_core.predictions import Predictions
from xai_core.targets.box_measure import SCORE, BoxMeasure
from xai_core.targets.measures import (
    ClassMeasure,
    ContrastMeasure,
    FunctionMeasure,
    RegionMeasure,
    SimilarityMeasure,
    TextContrastMeasure,
    TextMeasure,
    TokenMeasure,
)
from xai_core.targets.score_reader import ScoreReader
from xai_core.targets.target import BoundTarget
from xai_core.visualization.photos import model_view, stretched
from xai_core.visualization.placement import Placement


@dataclass(frozen=True, eq=False, repr=False)
class View(Batched):
    """The images and the predictions of a batch, for plots.

    Attributes
    ----------
    images
        [B,C,H,W] or [B,C,D,H,W], as the model received them.
    scores
        [B,K] class scores, or None if the model has none.
    are_probabilities
        Whether the scores are probabilities.
    loaded
        The model with its preprocessing and class names. None if they are not known.
    """

    images: Float[Tensor, "B C *size"]
    scores: Float[Tensor, "B K"] | None = None
    are_probabilities: bool = False
    loaded: LoadedModel | None = None

    @property
    def class_names(self) -> Sequence[str] | None:
        """The names of all classes, or None if they are not known."""
        return None if self.loaded is None else self.loaded.class_names

    def photo(self, index: int) -> Image.Image:
        """Return an image as the model sees it."""
        return model_view(self.images[index], None if self.loaded is None else self.loaded.restore)

    def slices(self, index: int) -> list[Image.Image]:
        """Return the slices of a volume, stretched to [0,1] together."""
        volume = self.images[index]
        return [to_pil(each) for each in stretched(volume).unbind(1)]

    def placement(self, photo: Image.Image) -> Placement:
        """Return the rectangle of a photo that the model received.

        Raises
        ------
        UnsuitableError
            If the preprocessing is not known, and the photo has another size than the model's input.
        """
        if photo.size == (self.images.shape[-1], self.images.shape[-2]):
            return Placement(0, 0, *photo.size)
        if self.loaded is None:
            raise UnsuitableError(
                f"the photo has {photo.width}x{photo.height} pixels and the model received "
                f"{self.images.shape[-1]}x{self.images.shape[-2]}, and the preprocessing is not known; create the "
                "engine with a LoadedModel, which contains the preprocessing, or leave the photo out"
            )
        return _placement(_Same(self.loaded.preprocess), *photo.size)

    def predictions(self, top: int = 1) -> Predictions | None:
        """Return the classes with the highest scores, or None if the model has no class scores."""
        if self.scores is None:
            return None
        return Predictions.of(self.scores, self.are_probabilities, self.class_names, top)

    def caption(self, index: int, target: BoundTarget) -> str:
        """Return what is explained for an image: the class and its probability, or a description of the target.

        If the class is not the predicted class, a second line contains the predicted class.
        """
        predicted = self._prediction(index)
        if not isinstance(target.measure, ClassMeasure):
            return "\n".join(
                filter(None, [self._described(index, target.measure), predicted and f"predicted: {predicted}"])
            )
        explained = int(target.measure.ids[index])
        if self.scores is None:
            return class_name(explained, self.class_names)
        everything = Predictions.of(self.scores[index : index + 1], self.are_probabilities, None, self.scores.shape[1])
        [rank] = (everything.ids[0] == explained).nonzero()[0].tolist()
        shown = f"{class_name(explained, self.class_names)} {float(everything.probabilities[0, rank]):.2f}"
        return shown if rank == 0 else f"{shown}\npredicted: {predicted}"

    def _prediction(self, index: int) -> str:
        predicted = None if self.scores is None else self[index].predictions()
        return "" if predicted is None else f"{predicted.names[0][0]} {float(predicted.probabilities[0, 0]):.2f}"

    def _described(self, index: int, measure: object) -> str:
        if isinstance(measure, ContrastMeasure):
            a, b = (class_name(class_id, self.class_names) for class_id in measure.pairs[index].tolist())
            return f"{a}, not {b}"
        if isinstance(measure, RegionMeasure):
            return f"region of {class_name(int(measure.ids[index]), self.class_names)}"
        if isinstance(measure, BoxMeasure):
            what = "" if measure.explain == SCORE else f"{measure.explain} side of "
            name = class_name(int(measure.labels[index]), self.class_names)
            return f"{what}{name} {float(measure.probabilities[index]):.2f}"
        if isinstance(measure, SimilarityMeasure):
            return "similarity"
        if isinstance(measure, TextMeasure):
            return measure.text or "text"
        if isinstance(measure, TextContrastMeasure):
            return f"{measure.a.text or 'text'}, not {measure.b.text or 'text'}"
        if isinstance(measure, TokenMeasure):
            return f"token {int(measure.ids[index])}"
        if isinstance(measure, FunctionMeasure):
            name = getattr(measure.function, "__name__", "<lambda>")
            return "function of the output" if name == "<lambda>" else name
        return ""


def view_of(images: Float[Tensor, "B C *size"], output: Any, reader: ScoreReader, loaded: LoadedModel | None) -> View:
    """Return the view of an explained batch. A model without class scores has no predictions."""
    try:
        scores = reader(output, len(images)).detach()
    except ModelOutputError:
        scores = None
    return View(images, scores, reader.are_probabilities(), loaded)


def photo_of(view: View | None, photo: Image.Image | None) -> tuple[Image.Image, Placement]:
    """Return the photo of the first image of a view, and the rectangle of the photo that the model received.

    Parameters
    ----------
    view
        The view. If it is None, the model received the whole photo.
    photo
        The photo. Default: the image that the model received.

    Raises
    ------
    UnsuitableError
        If neither the view nor the photo is known, or the rectangle is not known.
    """
    if photo is not None:
        return photo, Placement(0, 0, *photo.size) if view is None else view.placement(photo)
    if view is None:
        raise UnsuitableError(
            "the images of this result are not known, because it was saved or was not computed by an engine; pass the"
            " photo, such as `overlay(photo)`"
        )
    photo = view.photo(0)
    return photo, Placement(0, 0, *photo.size)


def slices_of(view: View | None) -> list[Image.Image]:
    """Return the slices of the first volume of a view.

    Raises
    ------
    UnsuitableError
        If the view is not known.
    """
    if view is None:
        raise UnsuitableError(
            "the volumes of this result are not known, because it was saved or was not computed by an engine; "
            "pass the volumes to `Engine.explain` again"
        )
    return view.slices(0)


class _Same:
    """A function as the key of a cache. Functions of users can be objects without a hash."""

    def __init__(self, function: Callable[[Any], Tensor]) -> None:
        self.function = function

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and other.function is self.function

    def __hash__(self) -> int:
        return id(self.function)


@lru_cache(maxsize=64)
def _placement(preprocess: _Same, width: int, height: int) -> Placement:
    return Placement.of(preprocess.function, width, height)
