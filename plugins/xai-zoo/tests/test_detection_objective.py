"""The training objective of detectors equals its formula, and checks its input."""

import numpy as np
import pytest
import torch
from torch import Tensor

import xai_core as xai
from xai_core.plugin import OptionError, TargetError
from xai_zoo.one_stage_detector import OneStageDetector
from xai_zoo.training.detection_objective import OneObject
from xai_zoo.training.recipe import Recipe

OBJECTS = [(10.0, 4.0, 30.0, 28.0), (0.0, 20.0, 14.0, 40.0), (24.0, 8.0, 40.0, 32.0)]
LABELS = [2, 0, 1]
ROWS, COLUMNS = 5, 6


class Fixed(OneStageDetector):
    """Returns fixed boxes and logits for every batch."""

    def __init__(self, boxes: Tensor, logits: Tensor) -> None:
        super().__init__(6, logits.shape[1])
        self.found = boxes, logits

    def cells(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the fixed boxes and logits."""
        return self.found


def found() -> tuple[Tensor, Tensor]:
    """Boxes [3,4,30] and logits [3,3,30]. The best detections are right, in the wrong class, and in the wrong box."""
    generator = torch.Generator().manual_seed(0)
    corner = 40 * torch.rand(3, 2, ROWS * COLUMNS, generator=generator)
    boxes = torch.cat([corner, corner + 1 + 20 * torch.rand(corner.shape, generator=generator)], 1)
    logits = torch.randn(3, 3, ROWS * COLUMNS, generator=generator)
    boxes[:, :, 7] = torch.tensor(OBJECTS) + torch.tensor([[1.0, 1, 2, 2], [1, 0, 0, -1], [0, -6, 0, -12]])
    for image, label in enumerate((2, 1, 1)):
        logits[image, label, 7] = 5
    return boxes, logits


def measured(boxes: Tensor, logits: Tensor) -> tuple[float, int]:
    images = torch.zeros(3, 3, 8 * ROWS, 8 * COLUMNS)
    targets = torch.tensor([[*box, label] for box, label in zip(OBJECTS, LABELS, strict=True)])
    loss, right = OneObject().measure(Fixed(boxes, logits), images, targets)
    return float(loss), int(right)


def generalized_iou(a: np.ndarray, b: tuple[float, ...]) -> tuple[float, float]:
    """Return the IoU and the GIoU of two boxes (Rezatofighi et al., 2019, algorithm 1)."""
    shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return shared / union, shared / union - (hull - union) / hull


def test_the_loss_is_focal_loss_and_generalized_iou_in_numpy() -> None:
    boxes, logits = found()
    probabilities = 1 / (1 + np.exp(-logits.double().numpy()))
    focal, overlaps = 0.0, []
    for image, (box, label) in enumerate(zip(OBJECTS, LABELS, strict=True)):
        middle = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        for cell in range(ROWS * COLUMNS):
            center = 8 * (cell % COLUMNS) + 4, 8 * (cell // COLUMNS) + 4
            near = abs(center[0] - middle[0]) <= 8 and abs(center[1] - middle[1]) <= 8
            if near:
                overlaps.append(generalized_iou(boxes[image, :, cell].double().numpy(), box)[1])
            for index in range(3):
                p = probabilities[image, index, cell]
                is_object = near and index == label
                focal -= 0.25 * (1 - p) ** 2 * np.log(p) if is_object else 0.75 * p**2 * np.log(1 - p)
    loss, _ = measured(boxes, logits)
    assert loss == pytest.approx(focal / len(overlaps) + 1 - np.mean(overlaps), rel=1e-5)


def test_a_right_detection_has_the_class_and_the_box_of_the_object() -> None:
    boxes, logits = found()
    overlaps = [generalized_iou(boxes[image, :, 7].numpy(), box)[0] for image, box in enumerate(OBJECTS)]
    assert [overlap > 0.5 for overlap in overlaps] == [True, True, False]
    assert measured(boxes, logits)[1] == 1
    logits[1, 0, 7] = 6
    assert measured(boxes, logits)[1] == 2


def test_crops_flips_smoothing_and_samples_without_one_box_are_refused() -> None:
    accepted = {"crop": 1, "flip": 0, "smoothing": 0}
    OneObject().check(Recipe(**accepted))
    for name, value in (("crop", 0.5), ("flip", 0.5), ("smoothing", 0.1)):
        with pytest.raises(OptionError, match="--crop 1 --flip 0 --smoothing 0"):
            OneObject().check(Recipe(**accepted | {name: value}))
    loaded = xai.load_model("shapes-detector:weights=none")
    for boxes in (None, torch.zeros(2, 4)):
        with pytest.raises(TargetError, match="expected one box"):
            OneObject().target(loaded, xai.Sample(torch.rand(3, 64, 64), "photo", target=1, boxes=boxes))


def test_the_target_is_the_box_and_the_label_in_the_models_input() -> None:
    sample = xai.load_dataset("shapes:split=test,count=1")[0]
    assert sample.boxes is not None
    left, top, right, bottom = sample.boxes[0].tolist()
    expected = [left, top, right, bottom, sample.target]
    assert OneObject().target(xai.load_model("shapes-detector:weights=none"), sample).tolist() == expected
    twice = OneObject().target(xai.load_model("shapes-detector:weights=none,size=128"), sample)
    torch.testing.assert_close(twice[:4], 2 * torch.tensor(expected[:4]), rtol=0, atol=1.0)
