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
class Explanation:
    """Explanation of one image by one method.

    Attributes
    ----------
    method
        Spec of the method.
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

    method: str
    overlay: Image
    seconds: float
    constant: bool
    scores: Mapping[str, MapScore]
    parts: Sequence[Image] = ()


@dataclass(frozen=True)
class Prediction:
    """A class, and its probability according to the model."""

    id: int
    name: str
    probability: float


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
        Predicted class, which the methods explain.
    explanations
        Explanations, one for each method.
    ground_truth
        Image colored by the ground-truth mask, if known.
    """

    id: str
    file: str
    photo: Image
    predicted: Prediction
    explanations: Sequence[Explanation]
    ground_truth: Image | None = None


@dataclass(frozen=True)
class ModelResults:
    """Results of one model on the images of one dataset.

    Attributes
    ----------
    model, data
        Specs of the model and of the dataset.
    images
        Results, at least one.
    skipped
        For each skipped method, the reason.
    """

    model: str
    data: str
    images: Sequence[ImageResult]
    skipped: Mapping[str, str]

    @property
    def title(self) -> str:
        """Heading of the results."""
        return f"{self.model} on {self.data}"
