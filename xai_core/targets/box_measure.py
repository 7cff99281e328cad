"""The measure of a box: how well the best detection in an image matches it, or the score of this detection."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor

from xai_core.detection.boxes import filled, iou
from xai_core.detection.detections import Detections
from xai_core.errors import TargetError
from xai_core.targets.measures import LogitMeasure, at, count

SCORE = "score"
COORDINATES = ("left", "top", "right", "bottom")
"""The coordinates of a box xyxy, in order."""


@dataclass(frozen=True, eq=False, repr=False)
class BoxMeasure(LogitMeasure):
    """The best match of the detections with a box of each image. Gradients explain a score or coordinate of this match.

    Attributes
    ----------
    boxes
        [B,4] xyxy in pixels.
    labels
        [B] class ids.
    profiles
        [B,K] class probabilities that the detections are compared with, or None if the labels are compared.
    best
        [B] the index of the best match in the original image.
    probabilities
        [B] the probability of the class, for this detection, in [0,1].
    explain
        The value that gradients explain: `score` or a coordinate.
    """

    boxes: Float[Tensor, "B 4"]
    labels: Int[Tensor, " B"]
    profiles: Float[Tensor, "B K"] | None
    best: Int[Tensor, " B"]
    probabilities: Float[Tensor, " B"]
    explain: str = SCORE

    def __call__(self, output: Any, of: Tensor | None, kind: str) -> Float[Tensor, " N"]:
        """See `BoundTarget.measure`."""
        reader = self.reader.require_detections()
        found = reader(output, count(self, of))
        boxes, labels = at(self.boxes, of), at(self.labels, of)
        match = matches(found, boxes, labels, None if self.profiles is None else at(self.profiles, of))
        if kind != "gradient":
            if self.explain != SCORE:
                raise TargetError(
                    f"only gradients explain the {self.explain} of a box; use a gradient-based method, or explain its "
                    "score with `explain='score'`"
                )
            return match.amax(1)
        is_fixed = reader.format.fixed
        index = at(self.best, of)[:, None] if is_fixed else match.argmax(1, keepdim=True)
        values = found.explained_score(labels) if self.explain == SCORE else found.boxes[..., self._coordinate]
        value = values.gather(1, index).squeeze(1)
        return value if is_fixed else value * (match.amax(1) > 0)  # zero if no detection matches

    @property
    def _coordinate(self) -> int:
        return COORDINATES.index(self.explain)

    def masks(self, size: tuple[int, int]) -> Bool[Tensor, "B H W"]:
        """Return the pixels of the boxes in images of a size (H, W)."""
        return filled(self.boxes, size)


def matches(
    found: Detections,
    boxes: Float[Tensor, "N 4"],
    labels: Int[Tensor, " N"],
    profiles: Float[Tensor, "N K"] | None,
) -> Float[Tensor, "N D"]:
    """Return how well each detection matches the box and the class of its image, in [0,1].

    This is the intersection over union, times the agreement of the class, times the confidence (D-RISE, eq. 1-3).
    """
    return iou(found.boxes, boxes) * found.agreement(labels, profiles) * found.confidence
