"""The objective of detectors."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

import xai_core as xai
from xai_core.plugin import OptionError, TargetError
from xai_zoo.one_stage_detector import STRIDE, OneStageDetector, cell_centers
from xai_zoo.training.objectives import Objective, label_of, require_classes
from xai_zoo.training.recipe import Recipe

RIGHT = 0.5
"""The intersection over union with the object above which a detection is correct."""


class OneObject(Objective):
    """Detection of the only object of each image.

    The cells around the center of the object detect it: those whose centers are at most one cell away along each axis.
    The loss is the sum of two terms. The first is the focal loss of all cells and classes, divided by the number of
    these cells. The second is the mean of 1 - GIoU of their boxes.

    A prediction is correct if the best detection has the class of the object, and overlaps its box. The intersection
    over union must be more than 0.5.

    Sources: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017; Rezatofighi et al., "Generalized
    Intersection over Union", CVPR 2019.
    """

    def check(self, recipe: Recipe) -> None:
        """See `Objective.check`."""
        if recipe.crop < 1 or recipe.flip or recipe.smoothing:
            raise OptionError(
                "a detector is trained without crops, flips and label smoothing: pass --crop 1 --flip 0 --smoothing 0"
            )

    def target(self, loaded: xai.LoadedModel, sample: xai.Sample) -> Float[Tensor, " 5"]:
        """Return the left, top, right and bottom of the object in the model's input, and its class."""
        if sample.boxes is None or len(sample.boxes) != 1:
            raise TargetError(f"{sample.id}: expected one box, got {0 if sample.boxes is None else len(sample.boxes)}")
        mask = xai.model_mask(loaded, sample)
        rows, columns = mask.any(1).nonzero().flatten(), mask.any(0).nonzero().flatten()
        return torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1, torch.tensor(label_of(sample))]).float()

    def measure(
        self, model: nn.Module, images: Tensor, targets: Tensor, smoothing: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """See `Objective.measure`."""
        assert isinstance(model, OneStageDetector)
        found, logits = model.cells(images)
        boxes, labels = targets[:, :4], targets[:, 4].long()
        require_classes(logits.shape[1], labels)
        near = responsible(boxes, images.shape[2] // STRIDE, images.shape[3] // STRIDE)
        classes = F.one_hot(labels, logits.shape[1])[:, :, None] * near[:, None]
        focal = sigmoid_focal_loss(logits, classes.to(logits), reduction="sum") / near.sum()
        image, _ = near.nonzero(as_tuple=True)
        detected = found.mT[near]
        return focal + generalized_box_iou_loss(detected, boxes[image], reduction="mean"), right(
            found, logits, boxes, labels
        ).sum()


def responsible(boxes: Float[Tensor, "B 4"], rows: int, columns: int) -> Bool[Tensor, "B cells"]:
    """Return which cells detect the object in a box: those at most one cell away from its center along each axis."""
    points = cell_centers(rows, columns).to(boxes)
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    return ((points - middle[:, :, None]).abs() <= STRIDE).all(1)


def right(
    found: Float[Tensor, "B 4 cells"],
    logits: Float[Tensor, "B classes cells"],
    boxes: Float[Tensor, "B 4"],
    labels: Int[Tensor, " B"],
) -> Bool[Tensor, " B"]:
    """Return whether the detection with the highest score in each image has the class and the box of its object."""
    scores, classes = logits.max(1)
    best = scores.argmax(1, keepdim=True)
    detected = found.gather(2, best[:, None].expand(-1, 4, 1)).squeeze(2)
    sides = detected[:, 2:].minimum(boxes[:, 2:]) - detected[:, :2].maximum(boxes[:, :2])
    shared = sides.clamp(min=0).prod(1)
    area, other = ((each[:, 2:] - each[:, :2]).prod(1) for each in (detected, boxes))
    same = classes.gather(1, best).squeeze(1) == labels
    return same & (shared > RIGHT * (area + other - shared))
