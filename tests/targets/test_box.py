"""Boxes as targets: values equal computations in plain PyTorch, and what cannot be explained is refused."""

import io

import pytest
import torch
import torchvision
from torch import Tensor, nn

import xai_core as xai
from support.detectors import AnchorDetector, ListDetector, QueryDetector
from xai_core.errors import ConstantMapWarning, LayerError, ModelOutputError, OptionError, TargetError, UnsuitableError

DETECTORS = {
    "anchors": AnchorDetector,
    "objectness": lambda: AnchorDetector(objectness=True),
    "list": ListDetector,
    "no-object": QueryDetector,
    "sigmoid": lambda: QueryDetector(no_object=False),
}


def images_of(count: int = 2, size: int = 64) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def detections(model: nn.Module, output: object, index: int, size: int = 64) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the boxes xyxy, class profiles, confidences and scores of one image, computed without xai-core."""
    if isinstance(model, ListDetector):
        found = output[index]
        profiles = nn.functional.one_hot(found["labels"], 3).to(found["scores"])
        return found["boxes"], profiles, found["scores"], found["scores"][:, None].expand(-1, 3)
    if isinstance(model, QueryDetector):
        logits, boxes = output["logits"][index], output["pred_boxes"][index]
        boxes = torchvision.ops.box_convert(boxes, "cxcywh", "xyxy") * size
        if logits.shape[-1] == 4:
            both = logits.softmax(-1)
            return boxes, both[:, :3], 1 - both[:, 3], logits
        return boxes, logits.sigmoid(), logits.sigmoid().amax(-1), logits
    found = output[index] if model.objectness else output[index].T
    boxes = torchvision.ops.box_convert(found[:, :4], "cxcywh", "xyxy")
    if model.objectness:
        return boxes, found[:, 5:], found[:, 4], found[:, 4:5] * found[:, 5:]
    return boxes, found[:, 4:], found[:, 4:].amax(-1), found[:, 4:]


def d_rise_match(model: nn.Module, output: object, index: int, box: Tensor, profile: Tensor) -> Tensor:
    """Return eq. 1-3 of D-RISE for every detection of one image, in plain PyTorch."""
    boxes, profiles, confidence, _ = detections(model, output, index)
    overlap = torchvision.ops.box_iou(boxes, box[None])[:, 0]
    return overlap * nn.functional.cosine_similarity(profiles, profile[None], dim=1) * confidence


@pytest.mark.parametrize("name", DETECTORS)
def test_forward_only_score_is_the_best_match(name: str) -> None:
    model, images = DETECTORS[name]().eval(), images_of()
    changed = images_of(4).flip(0)
    box, label = torch.tensor([8.0, 8.0, 24.0, 30.0]), 1
    engine = xai.Engine(model)
    target = engine.explain(images, "center", xai.Box(box, label, overlap=0))["center"].target
    of = torch.tensor([0, 1, 1, 0])
    with torch.no_grad():
        output = model(changed)
        scores = target.model_score(output, of)
        profile = nn.functional.one_hot(torch.tensor(label), 3).float()
        expected = [d_rise_match(model, output, i, box, profile).amax() for i in range(4)]
    torch.testing.assert_close(scores, torch.stack(expected))
    assert (scores > 0).any()


@pytest.mark.parametrize("name", DETECTORS)
def test_gradient_is_that_of_the_best_match(name: str) -> None:
    model, images = DETECTORS[name]().eval(), images_of()
    boxes, profile = torch.tensor([[0.0, 0.0, 30.0, 64.0], [4.0, 4.0, 60.0, 60.0]]), torch.eye(3)[1]
    maps = xai.Engine(model).explain(images, "saliency", xai.Box(boxes, 1, overlap=0))
    leaf = images.clone().requires_grad_()
    output = model(leaf)
    total = 0
    for i in range(2):
        best = d_rise_match(model, output, i, boxes[i], profile).argmax()
        total = total + detections(model, output, i)[3][best, 1]
    (gradient,) = torch.autograd.grad(total, leaf)
    expected = gradient.abs().sum(1)
    torch.testing.assert_close(maps["saliency"].raw, expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", DETECTORS)
def test_no_target_explains_the_detection_with_the_highest_score(name: str) -> None:
    model, images = DETECTORS[name]().eval(), images_of()
    engine = xai.Engine(model)
    best = [found[0] for found in engine.detect(images, threshold=0)]
    measure = engine.explain(images, "center")["center"].target.measure
    torch.testing.assert_close(measure.boxes, torch.tensor([found.box for found in best]))
    assert measure.labels.tolist() == [found.label for found in best]


def test_index_of_an_anchor_is_fixed_in_perturbed_images() -> None:
    model, images = AnchorDetector().eval(), images_of(1)
    target = xai.Engine(model).explain(images, "center", xai.Box(overlap=0))["center"].target
    anchor, label = target.measure.best, target.measure.labels
    output = model(images_of(3))
    scores = target.model_score(output, torch.zeros(3, dtype=torch.int64), "gradient")
    torch.testing.assert_close(scores, output[:, 4 + label.item(), anchor.item()])


class SortedQueries(QueryDetector):
    """Returns its queries in the order of their scores, as RT-DETR."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        output = super().forward(images)
        order = output["logits"].amax(2).argsort(1, descending=True)
        return {name: part.gather(1, order[..., None].expand_as(part)) for name, part in output.items()}


def test_order_of_queries_has_no_effect_on_gradients_in_perturbed_images() -> None:
    images, others = images_of(1), images_of(6)
    scores = []
    for model in (QueryDetector().eval(), SortedQueries().eval()):
        target = xai.Engine(model).explain(images, "center", xai.Box(overlap=0))["center"].target
        scores.append(target.model_score(model(others), torch.zeros(6, dtype=torch.int64), "gradient"))
    torch.testing.assert_close(*scores)


def listed(boxes: list[list[float]], labels: list[int], scores: list[float]) -> list[dict[str, Tensor]]:
    return [{"boxes": torch.tensor(boxes), "labels": torch.tensor(labels), "scores": torch.tensor(scores)}]


def test_gradients_of_a_vanished_detection_are_zero() -> None:
    target = xai.Engine(ListDetector().eval()).explain(images_of(1), "center")["center"].target
    left, top, right, bottom = target.measure.boxes[0].tolist()
    label = target.measure.labels.item()
    other = [left + 500, top, right + 500, bottom]
    assert target.model_score(listed([other], [label], [0.9]), kind="gradient").tolist() == [0]
    assert target.model_score(listed([[left, top, right, bottom]], [label + 1], [0.9]), kind="gradient").tolist() == [0]
    both = listed([other, [left, top, right, bottom]], [label, label], [0.9, 0.3])
    assert target.model_score(both, kind="gradient").tolist() == pytest.approx([0.3])


@pytest.mark.parametrize("name", DETECTORS)
def test_a_class_that_is_not_detected_there_is_refused(name: str) -> None:
    engine, images = xai.Engine(DETECTORS[name]().eval()), images_of()
    with pytest.raises(TargetError, match="no detection overlaps"):
        engine.explain(images, "center", xai.Box([200.0, 200, 220, 220], overlap=0))
    for label in (torch.tensor(77), torch.tensor(-1)):
        with pytest.raises(TargetError, match="no detection overlaps"):
            engine.explain(images, "center", xai.Box([0.0, 0, 64, 64], label, overlap=0))
    for label in ([0, 1, 2], 1.5, [[0, 1], [1, 2]], {}):
        with pytest.raises(TargetError, match="class"):
            engine.explain(images, "center", xai.Box([0.0, 0, 64, 64], label, overlap=0))


def test_targets_do_not_share_memory_with_the_users_tensors() -> None:
    box, label = torch.tensor([8.0, 8.0, 24.0, 30.0]), torch.tensor(1)
    measure = (
        xai.Engine(AnchorDetector().eval())
        .explain(images_of(), "center", xai.Box(box, label, overlap=0))["center"]
        .target.measure
    )
    box.zero_(), label.zero_()
    assert measure.boxes.tolist() == [[8, 8, 24, 30]] * 2
    assert measure.labels.tolist() == [1, 1]


@pytest.mark.parametrize(("side", "index"), [("left", 0), ("top", 1), ("right", 2), ("bottom", 3)])
def test_gradient_of_a_coordinate(side: str, index: int) -> None:
    model, images = QueryDetector().eval(), images_of(1)
    engine = xai.Engine(model)
    maps = engine.explain(images, "saliency", xai.Box(explain=side, overlap=0))["saliency"]
    leaf = images.clone().requires_grad_()
    output = model(leaf)
    boxes = detections(model, output, 0)[0]
    (gradient,) = torch.autograd.grad(boxes[maps.target.measure.best.item(), index], leaf)
    torch.testing.assert_close(maps.raw, gradient.abs().sum(1), rtol=1e-4, atol=1e-6)
    with pytest.raises(TargetError, match=f"only gradients explain the {side}"):
        engine.explain(images, "occlusion", xai.Box(explain=side, overlap=0))


def test_box_without_a_detection_is_refused() -> None:
    engine = xai.Engine(ListDetector().eval())
    with pytest.raises(TargetError, match=r"images \[0, 1\] are boxes that no detection overlaps by 0.5"):
        engine.explain(images_of(), "center", xai.Box([0, 0, 2, 2]))
    nothing = ListDetector().eval()
    nothing.threshold = 2
    with pytest.raises(TargetError, match="the detector detects no object"):
        xai.Engine(nothing).explain(images_of(), "center")


def test_images_without_detections_have_the_score_zero() -> None:
    model, images = ListDetector().eval(), images_of(1)
    target = xai.Engine(model).explain(images, "center")["center"].target
    empty = [{"boxes": torch.zeros(0, 4), "scores": torch.zeros(0), "labels": torch.zeros(0, dtype=torch.int64)}]
    assert target.model_score(empty).tolist() == [0]


@pytest.mark.parametrize("box", [[1, 2, 3], [[1, 2, 3]], "box", [5, 5, 5, 9], [0, 0, float("nan"), 1], [9, 9, 2, 2]])
def test_malformed_boxes_are_refused(box: object) -> None:
    with pytest.raises(TargetError, match="box"):
        xai.Box(box)


def test_options_are_checked() -> None:
    with pytest.raises(OptionError, match="explain must be one of score, left"):
        xai.Box([0, 0, 1, 1], explain="width")
    with pytest.raises(OptionError, match="overlap"):
        xai.Box([0, 0, 1, 1], overlap=2)
    with pytest.raises(TargetError, match="for each of 2 images, got 3 boxes"):
        xai.Engine(ListDetector().eval()).explain(images_of(), "center", xai.Box(torch.tensor([[0, 0, 9, 9.0]] * 3)))


def test_classifiers_have_no_boxes() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)).eval()
    with pytest.raises(TargetError, match="a box needs a detector whose output is recognized"):
        xai.Engine(model).explain(images_of(), "grad-cam", xai.Box([0, 0, 9, 9]))
    with pytest.raises(TargetError, match="a box needs a detector"):
        xai.Engine(model).detect(images_of())


@pytest.mark.parametrize("name", DETECTORS)
def test_saved_maps_are_scored_for_their_box(name: str) -> None:
    engine, images = xai.Engine(DETECTORS[name]().eval()), images_of()
    maps = engine.explain(images, "center")
    file = io.BytesIO()
    torch.save(maps["center"], file)
    file.seek(0)
    loaded = torch.load(file)
    for metric in ("deletion", "insertion"):
        before = engine.evaluate(images, maps, metric)["center"][metric].values
        assert torch.equal(engine.evaluate(images, loaded, metric)[metric].values, before)


def test_masks_of_metrics_default_to_the_box() -> None:
    engine, images = xai.Engine(ListDetector().eval()), images_of()
    maps = engine.explain(images, ["rise:masks=20", "center"])
    boxes = maps["center"].target.measure.boxes
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    for i, (left, top, right, bottom) in enumerate(boxes.tolist()):
        for row in range(64):
            for column in range(64):
                masks[i, row, column] = left <= column + 0.5 <= right and top <= row + 0.5 <= bottom
    for metric in ("pointing-game", "energy-pointing-game"):
        own = engine.evaluate(images, maps, metric)
        given = engine.evaluate(images, maps, metric, masks)
        for key in maps:
            assert torch.equal(own[key][metric].values, given[key][metric].values)


@pytest.mark.parametrize("target", ["box", "region"])
def test_targets_with_a_location_are_not_flipped(target: str) -> None:
    model = AnchorDetector().eval() if target == "box" else nn.Conv2d(3, 4, 3, padding=1)
    located = xai.Box(overlap=0) if target == "box" else xai.Region(1, torch.eye(64))
    engine = xai.Engine(model)
    with pytest.raises(UnsuitableError, match="flipped image; use `smoothed"):
        engine.explain(images_of(), "smoothed(saliency)", located)
    maps = engine.explain(images_of(), ["smoothed(saliency):flip=false,brightness=0", "saliency"], located)
    smoothed, plain = (saliency.raw for saliency in maps.values())
    torch.testing.assert_close(smoothed, plain)


@pytest.mark.parametrize("name", DETECTORS)
@pytest.mark.parametrize("target", [1, [0, 1], torch.tensor([1, 2]), xai.Contrast(0, 1), "star"])
def test_classes_of_a_detector_are_refused_with_the_way_to_a_detection(name: str, target: object) -> None:
    loaded = xai.LoadedModel(DETECTORS[name]().eval(), lambda image: image, ("heart", "star", "cross"))
    with pytest.raises(ModelOutputError, match=r"is a detector.*`target=Box\(box, label\)`.*`Engine.detect`"):
        xai.Engine(loaded).explain(images_of(), "saliency", target)
    with pytest.raises(ModelOutputError, match=r"is a detector.*`Engine.detect`"):
        xai.Engine(loaded).predict(images_of())


class Rounded(AnchorDetector):
    """A detector whose probabilities are rounded to 0 and 1, so that their gradients are zero."""

    def forward(self, images: Tensor) -> Tensor:
        found = super().forward(images)
        return torch.cat([found[:, :4], (1e6 * (found[:, 4:] - 0.5)).sigmoid()], 1)


def test_scores_without_a_gradient_are_the_reason_for_no_default_layer() -> None:
    engine, images = xai.Engine(Rounded().eval()), images_of()
    for method in ("grad-cam", "odam"):
        with pytest.raises(LayerError, match=r"scores of detections are zero.*layer=`, such as 'head'"):
            engine.explain(images, method)
    assert engine.explain(images, "occlusion")["occlusion"].values.any()
    with pytest.warns(ConstantMapWarning):
        assert engine.explain(images, "grad-cam:layer=body")["grad-cam:layer=body"].constant.all()


@pytest.mark.parametrize("name", DETECTORS)
def test_the_probability_is_that_of_the_class_of_the_best_match(name: str) -> None:
    model, images = DETECTORS[name]().eval(), images_of()
    with torch.no_grad():
        output = model(images)
    for label in (None,) if name == "list" else range(3):
        target = xai.Box([0.0, 0, 64, 64], label, overlap=0)
        measure = xai.Engine(model).explain(images, "center", target)["center"].target.measure
        for index in range(2):
            best = measure.best[index]
            _, profiles, _, scores = detections(model, output, index)
            of_classes = (scores if isinstance(model, AnchorDetector) else profiles)[best]
            torch.testing.assert_close(measure.probabilities[index], of_classes[measure.labels[index]])


class Constant(ListDetector):
    """A detector whose score nearest to 0.5 is a constant, as that of a region outside of the image."""

    threshold = 0.0

    def forward(self, images: Tensor) -> list[dict[str, Tensor]]:
        """Return the detections of each image."""
        found = super().forward(images)
        for detected in found:
            is_nearest = torch.arange(len(detected["scores"])) == (detected["scores"] - 0.5).abs().argmin()
            detected["scores"] = detected["scores"].where(~is_nearest, 0.5)
        return found


def test_the_default_layer_does_not_depend_on_a_score_without_a_gradient() -> None:
    model, images = Constant().eval(), images_of(1)
    leaf = images.clone().requires_grad_()
    scores = model(leaf)[0]["scores"]
    (gradient,) = torch.autograd.grad(scores[(scores - 0.5).abs().argmin()], leaf)
    assert not gradient.any()
    assert xai.Engine(model).adapter(images).default_layer == "body"
