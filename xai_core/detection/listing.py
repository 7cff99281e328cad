"""Lists of detected objects, as the engine returns them to users."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from xai_core.data.class_names import class_name
from xai_core.detection.detections import Detections
from xai_core.errors import MissingDependencyError

SAME_OBJECT = 0.5
"""Detections of one class with a larger intersection over union are of the same object."""


@dataclass(frozen=True)
class Detection:
    """A detected object.

    Attributes
    ----------
    box
        Left, top, right and bottom in pixels of the model's input, as `xai_core.Box` expects them.
    score
        The probability of an object of this class, in [0,1].
    label
        The class id.
    name
        The class name, or `class N` if the names are not known.
    """

    box: tuple[float, float, float, float]
    score: float
    label: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} {self.score:.2f} at {', '.join(f'{side:.0f}' for side in self.box)}"


def listed(
    found: Detections, overlapping: bool, threshold: float, names: Sequence[str] | None
) -> list[list[Detection]]:
    """Return the detections of each image with a score of at least `threshold`, the highest score first.

    If several detections of one object are possible, only the one with the highest score is returned (non-maximum
    suppression of torchvision).

    Raises
    ------
    MissingDependencyError
        If torchvision is required and not installed.
    """
    lists = []
    for boxes, scores, labels in zip(found.boxes, found.score, found.labels, strict=True):
        kept = ((scores >= threshold) & (scores > 0)).nonzero().flatten()
        kept = kept[scores[kept].argsort(descending=True, stable=True)]
        if overlapping:
            kept = kept[_suppressed(boxes[kept], scores[kept], labels[kept])]
        rows = zip(boxes[kept].tolist(), scores[kept].tolist(), labels[kept].tolist(), strict=True)
        lists.append([Detection(tuple(box), score, label, class_name(label, names)) for box, score, label in rows])
    return lists


def _suppressed(boxes: torch.Tensor, scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the indices of the detections that remain after non-maximum suppression in each class."""
    try:
        from torchvision.ops import batched_nms
    except ImportError:
        raise MissingDependencyError("non-maximum suppression requires torchvision: pip install torchvision") from None
    return batched_nms(boxes, scores, labels, SAME_OBJECT)
