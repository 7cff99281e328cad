"""Results that a report shows: images, their explanations and the scores of the maps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from PIL.Image import Image


@dataclass(frozen=True)
class PerturbationCurve:
    """The model's score after each perturbation step. Both sequences have the same length.

    Attributes
    ----------
    fractions
        Fraction of pixels replaced, from 0 to 1.
    scores
        Score of the model.
    """

    fractions: Sequence[float]
    scores: Sequence[float]


@dataclass(frozen=True)
class MapScore:
    """Score of one map by one metric."""

    value: float
    higher_is_better: bool
    curve: PerturbationCurve | None = None


@dataclass(frozen=True)
class MethodResult:
    """Base class of results of one method.

    Attributes
    ----------
    method
        Spec of the method.
    group
        Key of `method_groups.GROUPS`.
    """

    method: str
    group: str


@dataclass(frozen=True)
class Explanation(MethodResult):
    """Explanation of one image by one method.

    Attributes
    ----------
    overlay
        Image colored by the map.
    seconds
        Duration of the explanation.
    constant
        Whether the map is constant.
    scores
        Scores of the map by metric.
    parts
        Overlays of the parts of the map, such as attention heads.
    """

    overlay: Image
    seconds: float
    constant: bool
    scores: Mapping[str, MapScore]
    parts: Sequence[Image] = ()


@dataclass(frozen=True)
class Prediction:
    """A class, a detection, a region or a text, and its probability or its size according to the model.

    Attributes
    ----------
    id
        The class, or None for a text.
    name
        The name of the class, or the text.
    probability
        In [0,1]. For a detection, its score. None for a region or a text.
    box
        Left, top, right and bottom of a detection in pixels of the photo. None if it is not known, or for a class.
    share
        The fraction of pixels of a region, in (0,1]. None for other predictions.
    """

    id: int | None
    name: str
    probability: float | None
    box: tuple[float, ...] | None = None
    share: float | None = None

    def __str__(self) -> str:
        return in_words(self.name, self.probability, self.share)


def in_words(name: str, probability: float | None, share: float | None) -> str:
    """Return a name with a probability or a fraction of pixels, if one of these is known."""
    if share is not None:
        return f"{name} {100 * share:.1f}% of pixels"
    return name if probability is None else f"{name} {probability:.2f}"


@dataclass(frozen=True, eq=False)
class ImageResult:
    """One image with its explanations by all methods.

    Attributes
    ----------
    id
        Id of the image in the dataset.
    file
        Name of the image in file names.
    photo
        The image as the model sees it.
    predicted
        Predicted class, detection, region or text, which the methods explain, or None if nothing is predicted.
    explanations
        Explanations, one for each method.
    ground_truth
        Image colored by the ground-truth mask, if known.
    label
        Name of the class in the dataset, if known.
    """

    id: str
    file: str
    photo: Image
    predicted: Prediction | None
    explanations: Sequence[Explanation]
    ground_truth: Image | None = None
    label: str | None = None

    @property
    def scored(self) -> bool:
        """Return whether metrics scored the maps."""
        return any(explanation.scores for explanation in self.explanations)


@dataclass(frozen=True)
class ModelResults:
    """Results of one model on the images of one dataset.

    Attributes
    ----------
    model, data
        Specs of the model and of the dataset.
    images
        Results. The list grows while images are explained.
    skipped
        The reason for each skipped method.
    """

    model: str
    data: str
    images: list[ImageResult]
    skipped: Mapping[str, str]

    @property
    def title(self) -> str:
        """Heading of the results."""
        return f"{self.model} on {self.data}"

    @property
    def skipped_by_reason(self) -> Mapping[str, str]:
        """The reasons for skipped methods, each once. The keys are comma-separated names."""
        methods_of: dict[str, list[str]] = {}
        for method, reason in self.skipped.items():
            methods_of.setdefault(reason, []).append(method)
        return {", ".join(methods): reason for reason, methods in methods_of.items()}
