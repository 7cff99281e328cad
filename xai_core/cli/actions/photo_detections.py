"""Detections that the options of `xai explain` select in each photo."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL.Image import Image
from torch import Tensor

from xai_core.cli.actions.photo_targets import NotInPhotoError, PhotoBox, PhotoTarget, Sides
from xai_core.data.class_names import class_name
from xai_core.detection.boxes import iou
from xai_core.detection.listing import Detection
from xai_core.errors import UnsuitableError
from xai_core.report.results import Prediction
from xai_core.saliency import Saliency
from xai_core.targets.box import Box
from xai_core.targets.box_measure import BoxMeasure
from xai_core.targets.target import BoundTarget
from xai_core.visualization.placement import Placement
from xai_core.visualization.view import View

THRESHOLD = 0.5
"""The lowest score of a detection that is explained without `--box`."""
_LISTED = 3
"""The number of detections that a message lists."""


@dataclass(frozen=True)
class BoxConversion:
    """Converts boxes between a photo and the model's input.

    Attributes
    ----------
    placement
        The part of the image that the model received, or None if it is not known.
    size
        (H, W) of the model's input.
    scale
        Pixels of the photo per pixel of the image. Larger photos are scaled down when they are read.
    """

    placement: Placement | None
    size: tuple[int, int]
    scale: float

    @classmethod
    def of(cls, view: View, image: Image, scale: float) -> "BoxConversion":
        """Return the conversion for an image that was read from a photo, and the view of its batch."""
        size = view.images.shape[-2], view.images.shape[-1]
        try:
            return cls(view.placement(image), size, scale)
        except UnsuitableError:
            return cls(None, size, scale)

    def in_photo(self, box: Sequence[float]) -> Sides | None:
        """Convert a box to pixels of the photo. Return None if the part of the photo is not known."""
        if self.placement is None:
            return None
        return tuple(round(side * self.scale, 2) + 0.0 for side in self.placement.in_photo(box, self.size))

    def in_input(self, box: PhotoBox) -> Box:
        """Return the target of a box of the photo.

        Raises
        ------
        UnsuitableError
            If the part of the photo is not known.
        """
        if self.placement is None:
            raise UnsuitableError(
                "--box needs a preprocessing that only resizes, crops, pads and normalizes, so that the box can be "
                "located in the model's input"
            )
        sides = [side / self.scale for side in box.sides]
        return Box(self.placement.in_input(sides, self.size), box.label)

    def prediction(self, detection: Detection) -> Prediction:
        """Return a detection as a prediction, with its box in pixels of the photo."""
        return Prediction(detection.label, detection.name, detection.score, self.in_photo(detection.box))

    def target(
        self, box: Box, measure: BoxMeasure, names: Sequence[str] | None, earlier: Sequence[PhotoTarget]
    ) -> PhotoTarget:
        """Return the target of the first image of a measure. Its name differs from those of earlier targets."""
        label, boxes = int(measure.labels[0]), measure.boxes.tolist()
        same = sum(target.class_id == label for target in earlier)
        name = class_name(label, names) + (f" {same + 1}" if same else "")
        return PhotoTarget(box, name, label, float(measure.probabilities[0]), self.in_photo(boxes[0]))

    def listed(self, found: Sequence[Detection]) -> str:
        """Return the first detections in words, with boxes in pixels of the photo."""
        return "; ".join(self._described(each) for each in found[:_LISTED]) or "nothing"

    def _described(self, detection: Detection) -> str:
        box = self.in_photo(detection.box)
        at = "" if box is None else f" at {','.join(f'{round(side)}' for side in box)}"
        return f"{detection.name} {detection.score:.2f}{at}"


def best_detections(found: Sequence[Detection], top: int, conversion: BoxConversion) -> list[Box]:
    """Return the targets of the detections with the highest scores, at least `THRESHOLD`.

    Raises
    ------
    NotInPhotoError
        If there is no such detection.
    """
    best = [detection for detection in found[:top] if detection.score >= THRESHOLD]
    if top and not best:
        raise NotInPhotoError(
            f"no detection has a score of at least {THRESHOLD}; detected: {conversion.listed(found)}. To explain an "
            "object with a lower score, pass --box"
        )
    return [Box(detection.box, detection.label) for detection in best]


def unmatched(box: Box, found: Sequence[Detection], conversion: BoxConversion) -> str:
    """Return a message that no detection overlaps a box, or nothing if one does."""
    assert isinstance(box.box, Tensor)
    boxes = torch.tensor([[detection.box for detection in found]]).reshape(1, -1, 4)
    if bool((iou(boxes, box.box[None].to(boxes)) >= box.overlap).any()):
        return ""
    sides = ",".join(f"{side:g}" for side in conversion.in_photo(box.box.tolist()) or ())
    return f"no detection overlaps the box {sides} by {box.overlap:g}; detected: {conversion.listed(found)}"


def box_measure(saliency: Saliency) -> BoxMeasure:
    """Return the measure of the box that a map explains."""
    assert isinstance(saliency.target, BoundTarget)
    assert isinstance(saliency.target.measure, BoxMeasure)
    return saliency.target.measure
