"""Detectors of torchvision and transformers are recognized, and their maps equal plain computations."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import box_convert, box_iou

import xai_core as xai
from support.detector_families import CLASSES, FAMILIES, SIZE, family
from support.oracles import Oracle, gradient_error, reading
from support.paths import ROOT
from xai_core.detection.formats import Listed, Queries

NO_OBJECT = ("detr", "yolos")
LISTED = ("faster-rcnn", "keypoint-rcnn", "retinanet", "fcos", "ssd")
DEFAULT = {
    "faster-rcnn": "backbone.body.layer1",
    "keypoint-rcnn": "backbone.body.layer1",
    "retinanet": "backbone.body.layer2",
    "fcos": "backbone.body.layer2",
    "ssd": "backbone.layer3",
    "detr": "model.encoder",
    "deformable-detr": "model.backbone.model.encoder.stages.1",
    "rt-detr": "model.backbone.model.encoder.stages.1",
    "yolos": "vit.encoder.layer.0",
}
"""The last layers on every path to the scores. Feature pyramids and multi-scale attention begin after them."""
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")]


@cache
def engine_of(name: str) -> xai.Engine:
    return xai.Engine(family(name))


def images_of(count: int = 1) -> Tensor:
    return torch.randn(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def read(name: str, output: Any, index: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the boxes xyxy, class profiles, confidences and explained scores of one image, without xai-core."""
    if name in LISTED:
        found = output[index]
        profiles = nn.functional.one_hot(found["labels"], CLASSES + 1).to(found["scores"])
        return found["boxes"], profiles, found["scores"], found["scores"][:, None].expand(-1, CLASSES + 1)
    boxes = box_convert(output.pred_boxes[index], "cxcywh", "xyxy") * SIZE
    logits = output.logits[index]
    if name in NO_OBJECT:
        both = logits.softmax(-1)
        return boxes, both[:, :-1], 1 - both[:, -1], logits
    return boxes, logits.sigmoid(), logits.sigmoid().amax(-1), logits


def matches(name: str, output: Any, index: int, box: Tensor, profile: Tensor) -> Tensor:
    """Return the match of each detection with a target (D-RISE, eq. 1-3)."""
    boxes, profiles, confidence, _ = read(name, output, index)
    return box_iou(boxes, box[None])[:, 0] * torch.cosine_similarity(profiles, profile[None], dim=1) * confidence


def target_of(name: str) -> tuple[xai.Box, Tensor, int]:
    """Return a target near a detection, its box, and its label."""
    detected = max(engine_of(name).detect(images_of(), threshold=0)[0], key=lambda found: area(found.box))
    box = torch.tensor(detected.box) + torch.tensor([1.0, 2, 2, 1])
    return xai.Box(box, detected.label, overlap=0), box, detected.label


def area(box: tuple[float, ...]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def profile_of(name: str, label: int) -> Tensor:
    return nn.functional.one_hot(torch.tensor(label), CLASSES + (name in LISTED)).float()


@pytest.mark.parametrize("name", ["detr", "deformable-detr", "yolos"])
def test_coded_images_are_run_once(name: str) -> None:
    model, images = family(name), list[int]()
    model.register_forward_pre_hook(lambda _, args: images.append(len(args[0])))
    xai.Engine(model).adapter(images_of())
    assert sum(images) <= 2 + 2 + 24


@pytest.mark.parametrize("name", FAMILIES)
def test_detectors_are_recognized(name: str) -> None:
    adapter = engine_of(name).adapter(images_of())
    assert adapter.probe.detections is not None
    expected = Listed() if name in LISTED else Queries(name in NO_OBJECT)
    assert adapter.probe.detections.format == expected
    assert adapter.default_layer == DEFAULT[name]


def box_of_each(name: str, count: int = 2) -> xai.Box:
    """The most probable detection with an area in each image."""
    found = engine_of(name).detect(images_of(count), threshold=0)
    each = [next(one for one in objects if area_of(one.box) > 1) for objects in found]
    return xai.Box(torch.tensor([one.box for one in each]), [one.label for one in each], overlap=0)


def area_of(box: tuple[float, float, float, float]) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


@pytest.mark.parametrize("name", FAMILIES)
def test_the_gradient_is_that_of_the_best_match(name: str) -> None:
    found = engine_of(name).explain(images_of(2), "saliency", box_of_each(name))["saliency"]
    measure = found.target.measure
    model, leaf = family(name), images_of(2).requires_grad_()
    output, total = model(leaf), torch.zeros(())
    for index, (box, label) in enumerate(zip(measure.boxes, measure.labels.tolist(), strict=True)):
        best = matches(name, output, index, box, profile_of(name, label)).argmax()
        total = total + read(name, output, index)[3][best, label]
    (gradient,) = torch.autograd.grad(total, leaf)
    expected = gradient.abs().sum(1)
    assert expected.any()
    torch.testing.assert_close(found.raw / expected.amax(), expected / expected.amax(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_score_of_changed_images_is_the_best_match(name: str) -> None:
    target, box, label = target_of(name)
    maps = engine_of(name).explain(images_of(), "center", target)["center"]
    masks = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(2)).round()
    masked = images_of() * nn.functional.interpolate(masks, SIZE)
    with torch.no_grad():
        output = family(name)(masked)
    scores = maps.target.model_score(output, torch.zeros(3, dtype=torch.int64))
    expected = [matches(name, output, i, box, profile_of(name, label)).amax() for i in range(3)]
    torch.testing.assert_close(scores, torch.stack(expected), rtol=1e-4, atol=1e-5)
    [result] = engine_of(name).evaluate(images_of(), maps, "deletion:steps=2").values()
    with torch.no_grad():
        whole = family(name)(images_of())
    first = matches(name, whole, 0, box, profile_of(name, label)).amax()
    torch.testing.assert_close(result.curve[0, 0].float(), first, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["faster-rcnn", "retinanet", "fcos", "deformable-detr", "rt-detr"])
def test_the_page_lists_the_default_layer(name: str) -> None:
    assert f" `{DEFAULT[name]}` |" in (ROOT / "docs/how-to/detector.md").read_text("utf-8")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_default_layer_has_locations_and_its_gradient_is_that_of_autograd(name: str) -> None:
    """RT-DETR has two images: PyTorch 2.15 computes wrong gradients through its batch norm for one image on the CPU."""
    target, box, label = target_of(name)
    images = images_of(2 if name == "rt-detr" else 1)

    def score(output: Any) -> Tensor:
        rows = range(len(output if name in LISTED else output.logits))
        best = [matches(name, output, i, box, profile_of(name, label)).argmax() for i in rows]
        return torch.stack([read(name, output, i)[3][best[i], label] for i in rows])

    oracle = Oracle(
        family(name),
        lambda model, images: model(images),
        score,
        images,
        reading(engine_of(name), images, target),
    )
    assert gradient_error(oracle) < 1e-2
    assert oracle.places(lattice=4, textures=2).right


@pytest.mark.parametrize(
    ("name", "layer"),
    [("fcos", "backbone.fpn.layer_blocks.0"), ("retinanet", "head.classification_head.conv@0")],
)
def test_a_level_of_a_pyramid_can_be_explained(name: str, layer: str) -> None:
    spec = f"grad-cam:layer={layer}"
    maps = engine_of(name).explain(images_of(), spec, box_of_each(name, 1))[spec]
    assert maps.raw.shape == (1, SIZE // 8, SIZE // 8)
