"""Detections are read from the outputs of torchvision, transformers and YOLO heads, or refused."""

import pytest
import torch
import torchvision
from torch import Tensor, nn

import xai_core as xai
from support.detectors import AnchorDetector, ListDetector, QueryDetector
from xai_core.detection.boxes import corners, iou
from xai_core.detection.formats import Anchors, Listed, Queries
from xai_core.detection.recognition import detection_format
from xai_core.errors import TargetError

SIZE = (64, 64)


def random_boxes(count: int) -> Tensor:
    points = torch.rand(count, 2, 2, generator=torch.Generator().manual_seed(count)) * 50
    return torch.cat([points.amin(1), points.amax(1) + 1], 1)


def test_iou_equals_torchvision() -> None:
    boxes, reference = random_boxes(20), random_boxes(3)
    expected = torchvision.ops.box_iou(boxes, reference).T
    torch.testing.assert_close(iou(boxes.expand(3, 20, 4), reference), expected)
    assert iou(torch.zeros(1, 2, 4), torch.zeros(1, 4)).tolist() == [[0, 0]]


def test_corners_equal_torchvision() -> None:
    boxes = random_boxes(5)
    torch.testing.assert_close(corners(boxes), torchvision.ops.box_convert(boxes, "cxcywh", "xyxy"))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (AnchorDetector(), Anchors(False)),
        (AnchorDetector(objectness=True), Anchors(True)),
        (ListDetector(), Listed()),
        (QueryDetector(), Queries(True)),
        (QueryDetector(no_object=False), Queries(False)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_recognized_formats(model: nn.Module, expected: object) -> None:
    image = torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0))
    assert detection_format(model.eval()(image), model, SIZE) == expected


@pytest.mark.parametrize(
    "output",
    [
        torch.randn(1, 3),
        torch.randn(1, 197, 64),  # tokens
        torch.rand(1, 84, 400),  # boxes as fractions of the image
        torch.rand(1, 84, 400) * 64,  # logits instead of probabilities
        {"logits": torch.randn(1, 5, 4), "pred_boxes": torch.rand(1, 5, 4)},  # no configuration with classes
        [],
        [{"boxes": torch.rand(2, 4)}],
    ],
    ids=str,
)
def test_other_outputs_are_not_recognized(output: object) -> None:
    assert detection_format(output, nn.Linear(4, 4), SIZE) is None


@pytest.mark.parametrize("output", ["boxes and classes", "boxes, scores and class ids"])
def test_anchors_are_not_recognized_by_their_shape_alone(output: str) -> None:
    boxes = random_boxes(40)
    if output == "boxes and classes":
        found = torch.cat([boxes, torch.rand(40, 3)], 1)[None]
    else:
        found = torch.cat([boxes, torch.rand(40, 1), torch.randint(2, (40, 1))], 1)[None]
    assert detection_format(found, nn.Linear(4, 4), SIZE) is None
    declared = AnchorDetector(objectness=True, classes=7)
    assert detection_format(found, declared, SIZE) is None


def test_query_outputs_with_another_number_of_classes_are_not_recognized() -> None:
    model = QueryDetector(classes=3).eval()
    model.config.num_labels = 7
    with pytest.raises(TargetError, match="a box needs a detector whose output is recognized"):
        xai.Engine(model).detect(torch.randn(1, 3, 64, 64))


@pytest.mark.parametrize("objectness", [False, True])
def test_detected_objects_equal_suppressed_anchors(objectness: bool) -> None:
    model, images = AnchorDetector(objectness).eval(), torch.randn(2, 3, *SIZE)
    found = xai.Engine(model).detect(images, threshold=0.3)
    with torch.no_grad():
        output = model(images) if objectness else model(images).mT
    for image, objects in zip(output, found, strict=True):
        boxes = torchvision.ops.box_convert(image[:, :4], "cxcywh", "xyxy")
        classes = image[:, 5:] * image[:, 4:5] if objectness else image[:, 4:]
        scores, labels = classes.max(1)
        likely = scores >= 0.3
        kept = torchvision.ops.batched_nms(boxes[likely], scores[likely], labels[likely], 0.5)
        assert len(objects) == len(kept) > 0
        torch.testing.assert_close(torch.tensor([o.score for o in objects]), scores[likely][kept])
        torch.testing.assert_close(torch.tensor([o.box for o in objects]), boxes[likely][kept])


def test_default_layer_contains_features_and_not_scores() -> None:
    images = torch.randn(2, 3, *SIZE)
    for model in (AnchorDetector(), AnchorDetector(objectness=True), ListDetector()):
        assert xai.Engine(model.eval()).adapter(images).default_layer == "body"
    assert xai.Engine(QueryDetector().eval()).adapter(images).default_layer == "body"
