"""Recognizes the format of a detector's output, from its output for one image."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from xai_core.detection.formats import Anchors, DetectionFormat, Listed, Queries, Size, is_listed

QUERIES = (("logits", "pred_boxes"), ("pred_logits", "pred_boxes"))
"""The names of the class logits and the boxes of queries, in transformers and in the code of DETR's authors."""
CLASS_COUNTS = ("nc", "num_classes")
"""Attributes in which detectors declare their number of classes."""
FEWEST_ANCHORS = 16
"""The number of boxes below which a tensor is not recognized as the output of a YOLO head."""


def detection_format(output: Any, model: nn.Module, size: Size) -> DetectionFormat | None:
    """Return the format of a detector's output for one image, or None if it is uncertain.

    Parameters
    ----------
    output
        The output.
    model
        The model. It determines whether the last class of queries means that there is no object.
    size
        (H, W) of the image.
    """
    if is_listed(output):
        return Listed()
    if isinstance(output, Mapping):
        return _queries(output, model)
    if isinstance(output, Tensor):
        return _anchors(output, model, size, None)
    if isinstance(output, tuple | list) and output and isinstance(output[0], Tensor):
        return _anchors(output[0], model, size, 0)
    return None


def _queries(output: Mapping[str, Any], model: nn.Module) -> Queries | None:
    """Return the format of queries. The model must have one class head, and a configuration with its classes."""
    for names in QUERIES:
        logits, boxes = (output.get(name) for name in names)
        if not isinstance(logits, Tensor) or not isinstance(boxes, Tensor):
            continue
        if logits.ndim != 3 or boxes.shape != (*logits.shape[:2], 4):
            continue
        classes = _declared(model, "num_labels")
        heads = {module.out_features for module in model.modules() if isinstance(module, nn.Linear)}
        if classes is None or logits.shape[2] not in heads:
            return None
        extra = logits.shape[2] - classes
        return Queries(bool(extra), *names) if extra in (0, 1) else None
    return None


def _anchors(values: Tensor, model: nn.Module, size: Size, part: int | None) -> Anchors | None:
    """Return the format of a YOLO head, if the numbers are boxes in pixels and probabilities.

    [1,A,5+C] could also be boxes without an objectness, or boxes with a score and a class id. It is recognized only if
    the model declares its number of classes C.
    """
    if values.ndim != 3 or not values.is_floating_point() or max(values.shape[1:]) < FEWEST_ANCHORS:
        return None
    objectness = values.shape[2] < values.shape[1]
    numbers = (values if objectness else values.mT).detach()[0].float()
    classes = _declared(model, *CLASS_COUNTS)
    if numbers.shape[1] < 5 + objectness or classes not in (numbers.shape[1] - 4 - objectness, None):
        return None
    (x, y, width, height), probabilities = numbers[:, :4].unbind(1), numbers[:, 4:]
    in_image = (x >= 0) & (x <= size[1]) & (y >= 0) & (y <= size[0])
    holds = (
        classes is not None or not objectness,
        in_image.float().mean() > 0.9,
        ((width >= 0) & (height >= 0)).all(),
        (width.amax() > 1) & (height.amax() > 1),
        ((probabilities >= 0) & (probabilities <= 1)).all(),
    )
    return Anchors(objectness, part) if all(map(bool, holds)) else None


def _declared(model: nn.Module, *names: str) -> int | None:
    """Return the number of classes that the outermost module with such an attribute declares, or None."""
    for module in model.modules():
        for holder in (module, getattr(module, "config", None)):
            for name in names:
                value = getattr(holder, name, None)
                if isinstance(value, int) and not isinstance(value, bool):
                    return value
    return None
