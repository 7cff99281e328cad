"""Formats of the outputs of detectors, and how detections are read from them."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from xai_core.detection.boxes import corners
from xai_core.detection.detections import Detections
from xai_core.errors import ModelOutputError
from xai_core.outputs import described
from xai_core.precision import at_least_float32

Size = tuple[int, int]
LISTED = ("boxes", "scores", "labels")
"""The keys of the dict that torchvision's detectors return for each image."""


class DetectionFormat(ABC):
    """A format of the output of a detector.

    Attributes
    ----------
    fixed
        Whether detection i of every image comes from the same part of the detector, such as a query or an anchor.
    overlapping
        Whether several detections are returned for one object, so that lists of them need non-maximum suppression.
    """

    fixed: ClassVar[bool] = True
    overlapping: ClassVar[bool] = False

    @abstractmethod
    def read(self, output: Any, size: Size) -> Detections:
        """Return the detections in an output for images of a size (H, W)."""

    @abstractmethod
    def scores(self, output: Any) -> Tensor:
        """Return the tensor of an output from which the scores of detections are read."""


@dataclass(frozen=True)
class Listed(DetectionFormat):
    """A list with a dict of `boxes` [D,4] xyxy in pixels, `scores` [D] and `labels` [D] for each image.

    torchvision's detectors and the `post_process_object_detection` of transformers return this format.
    """

    fixed = False

    def read(self, output: Any, size: Size) -> Detections:
        """See `DetectionFormat.read`."""
        length = max([1, *(len(found["scores"]) for found in output)])
        boxes, scores, labels = (_padded([found[key] for found in output], length) for key in LISTED)
        scores = at_least_float32(scores)
        return Detections(at_least_float32(boxes), labels, scores, scores)

    def scores(self, output: Any) -> Tensor:
        """See `DetectionFormat.scores`."""
        return torch.cat([found["scores"] for found in output])


@dataclass(frozen=True)
class Queries(DetectionFormat):
    """A mapping with class logits [N,Q,K] of Q queries, and their boxes [N,Q,4] cxcywh as fractions of the image.

    The models of the DETR family in transformers return this format. Some of them sort the queries by their scores in
    each image, so an index means another query in another image.

    Attributes
    ----------
    no_object
        Whether the last class means that there is no object, and probabilities are a softmax. Otherwise, the
        probability of each class is a sigmoid.
    logits, boxes
        The keys of the mapping.
    """

    fixed = False

    no_object: bool
    logits: str = "logits"
    boxes: str = "pred_boxes"

    def read(self, output: Any, size: Size) -> Detections:
        """See `DetectionFormat.read`."""
        logits, boxes = at_least_float32(output[self.logits]), at_least_float32(output[self.boxes])
        boxes = corners(boxes) * boxes.new_tensor([size[1], size[0]] * 2)
        if self.no_object:
            all_classes = logits.softmax(2)
            probabilities, confidence = all_classes[..., :-1], 1 - all_classes[..., -1]
            score, labels = probabilities.max(2)
            return Detections(boxes, labels, score, confidence, probabilities, logits[..., :-1])
        probabilities = logits.sigmoid()
        score, labels = probabilities.max(2)
        return Detections(boxes, labels, score, score, probabilities, logits)

    def scores(self, output: Any) -> Tensor:
        """See `DetectionFormat.scores`."""
        scores: Tensor = output[self.logits]
        return scores


@dataclass(frozen=True)
class Anchors(DetectionFormat):
    """A tensor of A boxes cxcywh in pixels, each with the probabilities of C classes.

    The heads of YOLO return this format: [N,4+C,A], or with an objectness after the box, [N,A,5+C].

    Attributes
    ----------
    objectness
        Whether the tensor is [N,A,5+C].
    part
        The index of the tensor in the output, or None if the output is the tensor.
    """

    objectness: bool
    part: int | None = None
    overlapping = True

    def read(self, output: Any, size: Size) -> Detections:
        """See `DetectionFormat.read`."""
        values = at_least_float32(self._values(output))
        boxes, classes = corners(values[..., :4]), values[..., 4 + self.objectness :]
        best, labels = classes.max(2)
        if not self.objectness:
            return Detections(boxes, labels, best, best, classes, classes)
        confidence = values[..., 4]
        return Detections(boxes, labels, confidence * best, confidence, classes, confidence[..., None] * classes)

    def scores(self, output: Any) -> Tensor:
        """See `DetectionFormat.scores`."""
        return self._values(output)[..., 4:]

    def _values(self, output: Any) -> Tensor:
        values: Tensor = output if self.part is None else output[self.part]
        return values if self.objectness else values.mT


@dataclass(frozen=True)
class DetectionReader:
    """Reads the detections in the outputs of one detector.

    Attributes
    ----------
    format
        The format of the outputs.
    size
        (H, W) of the images.
    """

    format: DetectionFormat
    size: Size

    def __call__(self, output: Any, rows: int) -> Detections:
        """Return the detections in an output for `rows` images.

        Raises
        ------
        ModelOutputError
            If the output does not contain detections for each image.
        """
        try:
            found = self.format.read(output, self.size)
        except (KeyError, IndexError, TypeError, AttributeError):
            found = None
        if found is None or len(found.boxes) != rows:
            raise ModelOutputError(f"expected the detections of {rows} images, got {described(output)}")
        return found


def _padded(rows: list[Tensor], length: int) -> Tensor:
    """Return tensors [D_i,...] as one tensor [N,length,...], filled with zeros."""
    return torch.stack([F.pad(row, (0, 0) * (row.ndim - 1) + (0, length - len(row))) for row in rows])


def is_listed(output: Any) -> bool:
    """Return whether an output is a list of dicts of boxes, scores and labels."""
    return isinstance(output, tuple | list) and bool(output) and all(map(_is_listed, output))


def _is_listed(found: Any) -> bool:
    if not isinstance(found, Mapping) or not all(isinstance(found.get(key), Tensor) for key in LISTED):
        return False
    boxes, scores, labels = (found[key] for key in LISTED)
    return bool(boxes.shape == (len(boxes), 4) and scores.shape == labels.shape == boxes.shape[:1])
