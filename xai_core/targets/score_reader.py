"""Reads the class scores in a model's output, and converts scores to probabilities."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from xai_core.detection.formats import DetectionReader
from xai_core.errors import ModelOutputError, TargetError
from xai_core.outputs import Path
from xai_core.targets.pixel_scores import has_class_pixels
from xai_core.targets.selection import CLASS_SCORES, find, read, wrong_output


@dataclass(frozen=True)
class ScoreLocation:
    """Location of the class scores in a model's output, found in the output for one image.

    Attributes
    ----------
    path
        Path of the class scores [1,K], or None if there is no such tensor, or more than one.
    reason
        Message that states why the path is None.
    probabilities
        Paths of the tensors that are probabilities, because the model ends in a softmax or a sigmoid.
    of_pixels
        Whether the output contains no class scores, but scores of classes for each pixel.
    """

    path: Path | None = ()
    reason: str = ""
    probabilities: frozenset[Path] = frozenset()
    of_pixels: bool = False

    @classmethod
    def of(cls, output: Any, probabilities: frozenset[Path]) -> "ScoreLocation":
        """Return the location in a model's output for one image."""
        try:
            return cls(find(output, 1, CLASS_SCORES), "", probabilities)
        except ModelOutputError as error:
            return cls(None, f"for one image, {error}", probabilities, has_class_pixels(output))

    def read(self, output: Any) -> Float[Tensor, "B K"]:
        """Return the class scores in an output for any number of images.

        Raises
        ------
        ModelOutputError
            If there is no such tensor, or more than one.
        """
        return read(output, self.require(), None, CLASS_SCORES)

    def require(self) -> Path:
        """Return the path of the class scores.

        Raises
        ------
        ModelOutputError
            If there is no such tensor, or more than one.
        """
        if self.path is None:
            raise ModelOutputError(self.reason)
        return self.path


@dataclass(frozen=True)
class ScoreReader:
    """Reads the class scores in a model's output.

    Parameters
    ----------
    read
        Function that returns the class scores [B,K] in an output.
    location
        The location of the scores.
    detections
        Reads the detections in an output, or None if the model is not a detector whose output is recognized.
    """

    read: Callable[[Any], Tensor]
    location: ScoreLocation = ScoreLocation()
    detections: DetectionReader | None = None

    def __call__(self, output: Any, rows: int | None = None) -> Float[Tensor, "B K"]:
        """Return the class scores in an output for `rows` images, or for any number of images.

        Raises
        ------
        ModelOutputError
            If the output contains no class scores with one row per image.
        """
        scores = self.read(output)
        if rows is not None and len(scores) != rows:
            raise wrong_output(output, rows, CLASS_SCORES)
        return scores

    def are_probabilities(self, path: Path | None = None) -> bool:
        """Return whether the scores at a path are probabilities. By default, these are the class scores."""
        return (self.location.path if path is None else path) in self.location.probabilities

    @property
    def is_detector(self) -> bool:
        """Return whether the model is a detector. Its output contains detections and no class scores."""
        return self.detections is not None and self.location.path is None

    @property
    def is_segmenter(self) -> bool:
        """Return whether the model segments images. Its output contains class scores of pixels, but not of images."""
        return self.location.of_pixels and not self.is_detector

    def require_detections(self) -> DetectionReader:
        """Return the reader of detections.

        Raises
        ------
        TargetError
            If the model is not a detector whose output is recognized.
        """
        if self.detections is None:
            raise TargetError(
                "a box needs a detector whose output is recognized. This is a dict of boxes, scores and labels for "
                "each image, logits and pred_boxes as in transformers, or a YOLO head [B,4+C,A] or [B,A,5+C]. For "
                "other detectors, pass `forward=` to the Engine, a function that returns such dicts"
            )
        return self.detections
