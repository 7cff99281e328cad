"""Box: target for one detection of an object detector."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xai_core.detection.boxes import iou
from xai_core.detection.detections import Detections
from xai_core.errors import TargetError
from xai_core.options import check_choice, check_number
from xai_core.outputs import detached
from xai_core.targets.box_measure import COORDINATES, SCORE, BoxMeasure, matches
from xai_core.targets.score_reader import ScoreReader
from xai_core.targets.target import BoundTarget, Class, Target, class_ids, replace_names

LARGEST_CLASS = 2**31
"""The largest class id plus one, for detectors whose number of classes is not known."""
NO_MATCH = ", with this class if there is one; `engine.detect(images, threshold=0)` lists the detections"
BoxLike = Sequence[float] | Sequence[Sequence[float]] | Tensor


@dataclass(frozen=True, eq=False)
class Box(Target):
    """Target for object detection: the detection of an object in a box.

    Every detection is compared with the box. The match is the product of its intersection over union with the box, the
    agreement of its class, and its confidence. The agreement is the cosine similarity of the class probabilities. If
    the detector returns one class per detection, the agreement is 1 for this class and 0 for others.

    For methods and metrics that need scores only, the target is the best match in the perturbed image. It is in [0,1].
    For gradients, the target is the score of the best match in the original image: its logit if the detector returns
    logits. Detectors that list detections after non-maximum suppression have no fixed order. For these, the
    best match is chosen again if an image is changed.

    Source: Petsiuk et al., "Black-box Explanation of Object Detectors via Saliency Maps" (D-RISE), CVPR 2021, eq. 1-3.

    Parameters
    ----------
    box
        [4] or [B,4]: left, top, right and bottom in pixels of the images [B,C,H,W]. Default: the box of the
        detection with the highest score in each image.
    label
        A class id or name, or one per image. Default: the class probabilities of the detection that matches the box
        best.
    explain
        `score`, or `left`, `top`, `right` or `bottom`: a coordinate of the detection in pixels, which only
        gradients can explain.
    overlap
        The intersection over union, in [0,1], that the best match must have with the box in the original image.

    Raises
    ------
    TargetError
        If the box is not one or several rows of four finite numbers, or has no area.
    """

    box: BoxLike | None = None
    label: Class | Sequence[Class] | Tensor | None = None
    explain: str = SCORE
    overlap: float = 0.5

    def __post_init__(self) -> None:
        check_choice("explain", self.explain, (SCORE, *COORDINATES))
        check_number("overlap", self.overlap, minimum=0, maximum=1)
        if self.box is not None:
            object.__setattr__(self, "box", _accepted(self.box))

    def with_ids(self, id_of: Callable[[str], int]) -> "Box":
        """See `Target.with_ids`."""
        return Box(self.box, replace_names(self.label, id_of), self.explain, self.overlap)

    def bind(self, output: Any, logits: ScoreReader, batch: int) -> BoundTarget:
        """See `Target.bind`."""
        found = logits.require_detections()(detached(output), batch)
        boxes, labels, profiles, is_class = self._wanted(found, batch)
        match, best = matches(found, boxes, labels, profiles).max(1, keepdim=True)
        overlaps = iou(found.boxes, boxes).gather(1, best).squeeze(1)
        probabilities = found.probability(labels).gather(1, best).squeeze(1)
        measure = BoxMeasure(logits, boxes, labels, profiles, best.squeeze(1), probabilities, self.explain)
        valid = (match.squeeze(1) > 0) & is_class & (overlaps >= self.overlap)
        overlapped = f"boxes that no detection overlaps by {self.overlap:g}"
        reason = "missing: the detector detects no object" if self.box is None else overlapped
        return BoundTarget(measure, batch, valid, reason + NO_MATCH)

    def _wanted(
        self, found: Detections, batch: int
    ) -> tuple[Float[Tensor, "B 4"], Int[Tensor, " B"], Float[Tensor, "B K"] | None, Bool[Tensor, " B"]]:
        """Return the box, the class and its profile that detections are compared with, and whether the class exists."""
        device = found.boxes.device
        boxes = None
        if isinstance(self.box, Tensor):
            if self.box.ndim == 2 and len(self.box) not in (1, batch):
                raise TargetError(f"expected one box, or one box for each of {batch} images, got {len(self.box)} boxes")
            boxes = self.box.to(device, found.boxes.dtype).expand(batch, 4)
        labels, is_class = None, torch.ones(batch, dtype=torch.bool, device=device)
        if self.label is not None:
            labels, is_class = self._labels(found, batch)
        agreement = found.score if labels is None else found.agreement(labels, found.profile(labels)) * found.score
        best = (agreement if boxes is None else agreement * iou(found.boxes, boxes)).argmax(1, keepdim=True)
        if boxes is None:
            boxes = found.boxes.gather(1, best[..., None].expand(-1, 1, 4)).squeeze(1)
        if labels is not None:
            return boxes, labels, found.profile(labels), is_class
        labels = found.labels.gather(1, best).squeeze(1)
        if found.probabilities is None:
            return boxes, labels, None, is_class
        index = best[..., None].expand(-1, 1, found.probabilities.shape[2])
        return boxes, labels, found.probabilities.gather(1, index).squeeze(1), is_class

    def _labels(self, found: Detections, batch: int) -> tuple[Int[Tensor, " B"], Bool[Tensor, " B"]]:
        """Return the class of each image, and whether the detector has this class."""
        classes = LARGEST_CLASS if found.probabilities is None else found.probabilities.shape[2]
        labels = class_ids(self.label, found.score[:, :1].expand(batch, classes), batch)
        if labels.ndim != 1:
            raise TargetError(f"a box has one class per image, got class ids of shape {list(labels.shape)}")
        is_class = (labels >= 0) & (labels < classes)
        return labels.clamp(0, classes - 1), is_class


def _accepted(box: BoxLike) -> Float[Tensor, "*B 4"]:
    """Return boxes as a tensor.

    Raises
    ------
    TargetError
        If they are not rows of four finite numbers, or have no area.
    """
    try:
        boxes = torch.as_tensor(box).detach()
    except (TypeError, ValueError, RuntimeError):
        boxes = torch.empty(0)
    if boxes.ndim not in (1, 2) or boxes.shape[-1] != 4 or boxes.is_complex():
        raise TargetError(f"a box is left, top, right and bottom in pixels, or one such row per image; got {box!r}")
    boxes = boxes.to(torch.promote_types(boxes.dtype, torch.float32), copy=True)
    if not bool((boxes.isfinite().all() & (boxes[..., 2:] > boxes[..., :2]).all()).cpu()):
        raise TargetError(
            f"expected a box of finite numbers with left < right and top < bottom, got {boxes.tolist()}; boxes of "
            "(left, top, width, height) must be converted"
        )
    return boxes
