"""What metrics are given: the truth, the model, and maps that can be made again for other images or another model."""

import copy

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, settled
from xai_core.errors import InputShapeError, InputTypeError, NoGroundTruthError, UnsuitableError
from xai_core.plugin import Evaluation


class Asking(xai.Metric):
    """Keeps the evaluation and the maps that it is given."""

    name = "asking"
    higher_is_better = True

    def __init__(self) -> None:
        self.given: list[tuple[Evaluation, xai.Saliency]] = []

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        self.given.append((evaluation, saliency))
        return xai.MetricResult(saliency.values.mean((1, 2)))


@pytest.fixture
def cnn() -> nn.Module:
    return settled(SmallCNN())


def test_maps_of_other_images_are_for_the_target_of_the_first(cnn: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(cnn)
    others = images.flip(0) * 0.5 + 0.3
    saliency = engine.explain(images, "layer-cam", [1, 2, 1])["layer-cam"]
    expected = engine.explain(others, "layer-cam", [1, 2, 1])["layer-cam"]
    torch.testing.assert_close(saliency.explain(others).values, expected.values)
    torch.testing.assert_close(saliency.explain(others).explain(images).values, saliency.values)


def test_maps_of_several_targets_are_made_again_one_by_one(cnn: nn.Module, images: Tensor) -> None:
    both = xai.Engine(cnn).explain(images, "grad-cam", [[0, 1]] * len(images))["grad-cam"]
    for saliency in both.each:
        torch.testing.assert_close(saliency.explain(images).values, saliency.values)
    with pytest.raises(UnsuitableError, match="maps of several targets"):
        both.explain(images)


def test_maps_of_a_changed_copy_leave_the_model_alone(cnn: nn.Module, images: Tensor) -> None:
    saliency = xai.Engine(cnn).explain(images, "grad-cam", 1)["grad-cam"]
    changed = copy.deepcopy(cnn)
    nn.init.normal_(changed.last[0].weight)
    expected = xai.Engine(changed).explain(images, "grad-cam", 1)["grad-cam"]
    torch.testing.assert_close(saliency.explain(images, changed).values, expected.values)
    torch.testing.assert_close(saliency.explain(images).values, saliency.values)


def test_maps_of_a_changed_copy_are_made_in_the_same_blocks(cnn: nn.Module, images: Tensor) -> None:
    saliency = xai.Engine(cnn, block=5).explain(images, "score-cam", 1)["score-cam"]
    changed, sizes = copy.deepcopy(cnn), set()
    changed.register_forward_pre_hook(lambda _, args: sizes.add(len(args[0])))
    saliency.explain(images, changed)
    assert max(sizes) == 5


def test_the_callers_autocast_reaches_maps_that_are_made_again(cnn: nn.Module, images: Tensor) -> None:
    asking = Asking()
    with torch.autocast("cpu", torch.bfloat16):
        engine = xai.Engine(cnn)
        maps = engine.explain(images, "grad-cam", 1)
        engine.evaluate(images, maps, asking)
    [(_, saliency)] = asking.given
    torch.testing.assert_close(saliency.explain(images).values, maps["grad-cam"].values)
    assert (xai.Engine(cnn).explain(images, "grad-cam", 1)["grad-cam"].values - saliency.values).abs().max() > 1e-4


def test_maps_of_ones_own_cannot_be_made_again(cnn: nn.Module, images: Tensor) -> None:
    asking = Asking()
    xai.Engine(cnn).evaluate(images, {"mine": images.mean(1)}, asking)
    with pytest.raises(UnsuitableError, match=r"Engine\.explain"):
        asking.given[0][1].explain(images)


def test_metrics_see_the_truth_and_the_model(cnn: nn.Module, images: Tensor) -> None:
    engine, asking = xai.Engine(cnn), Asking()
    masks = images.mean(1) > 0
    maps = engine.explain(images, "grad-cam")
    engine.evaluate(images, maps, asking, masks)
    engine.evaluate(images, maps, asking)
    (known, _), (unknown, _) = asking.given
    assert known.masks.equal(masks)
    assert known.model is cnn
    with pytest.raises(NoGroundTruthError, match="pass `masks=`"):
        _ = unknown.masks


def test_masks_that_are_none(cnn: nn.Module, images: Tensor) -> None:
    engine, asking = xai.Engine(cnn), Asking()
    maps = engine.explain(images, "grad-cam")
    masks = torch.ones(3, 32, 32, dtype=torch.bool)
    for wrong in (masks.float(), masks[:2], masks[:, :16], masks.tolist()):
        with pytest.raises((InputTypeError, InputShapeError), match=r"masks must be bool \[3, 32, 32\]"):
            engine.evaluate(images, maps, asking, wrong)  # type: ignore[arg-type]
    masks[1] = False
    with pytest.raises(NoGroundTruthError, match=r"images \[1\]"):
        engine.evaluate(images, maps, asking, masks)


def test_costs_are_measured_where_asked_for(cnn: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(cnn)
    methods = ["grad-cam", "score-cam"]
    assert all(saliency.cost is None for saliency in engine.explain(images, methods).values())  # warms up, too
    grad_cam, score_cam = (saliency.cost for saliency in engine.explain(images, methods, costs=True).values())
    assert grad_cam
    assert score_cam
    assert (grad_cam.forward_passes, score_cam.forward_passes) == (1, 13)
    assert grad_cam.seconds > 0
    assert score_cam.seconds > 0
    assert grad_cam.memory is None
