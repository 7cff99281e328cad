"""Deletion and insertion against the RISE loop pixel by pixel in float64, and against closed forms."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

import xai_core as xai
from support.models import Linear, SmallCNN, fused_vit, settled
from support.observing import given_to
from xai_core.errors import InputShapeError, OptionError, OutOfMemoryWarning, UnknownMetricError
from xai_core.plugin import baseline_images, ranks


def rise_blur(images: Tensor) -> Tensor:
    """The blur of RISE's reference code."""
    impulse = np.zeros((11, 11))
    impulse[5, 5] = 1
    kernel = torch.zeros(3, 3, 11, 11, dtype=images.dtype)
    for channel in range(3):
        kernel[channel, channel] = torch.from_numpy(gaussian_filter(impulse, 5))
    return nn.functional.conv2d(images, kernel, padding=5)


def rise_loop(model: nn.Module, image: Tensor, saliency: Tensor, mode: str, step: int) -> list[float]:
    """RISE's causal metric for one image [C,H,W]: one pixel order, one forward per step, in float64."""
    height, width = saliency.shape
    order = sorted(range(height * width), key=lambda pixel: (-saliency.flatten()[pixel].item(), pixel))
    blank = torch.zeros_like(image) if mode == "deletion" else rise_blur(image[None])[0]
    current, finish = (image.clone(), blank) if mode == "deletion" else (blank.clone(), image)
    target = model(image[None]).argmax().item()
    scores = []
    steps = math.ceil(height * width / step)
    for i in range(steps + 1):
        scores.append(model(current[None]).softmax(1)[0, target].item())
        for pixel in order[i * step : (i + 1) * step]:
            current[:, pixel // width, pixel % width] = finish[:, pixel // width, pixel % width]
    return scores


def rise_auc(scores: list[float]) -> float:
    return (sum(scores) - scores[0] / 2 - scores[-1] / 2) / (len(scores) - 1)


@pytest.fixture(params=["cnn", "vit"])
def scored(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(3)
    model = settled(SmallCNN() if request.param == "cnn" else fused_vit())
    for parameter in list(model.parameters())[-2:]:
        parameter.data *= 4  # confident, so that the curves move
    return model


@torch.no_grad()
@pytest.mark.parametrize("ties", [False, True])
def test_equals_the_rise_loop(scored: nn.Module, images: Tensor, ties: bool) -> None:
    engine = xai.Engine(scored)
    maps = engine.explain(images, "grad-cam")
    values = torch.rand(3, 32, 32) if not ties else maps["grad-cam"].values.round(decimals=1)
    scores = engine.evaluate(images, {"mine": values}, ["deletion", "insertion"])["mine"]
    reference = scored.double()
    for metric, score in scores.items():
        assert score.curve is not None
        assert score.fractions is not None
        assert score.curve.shape == (3, 33)
        torch.testing.assert_close(score.fractions, torch.arange(33) / 32)
        for i, image in enumerate(images.double()):
            expected = rise_loop(reference, image, values[i], metric, step=32)
            torch.testing.assert_close(score.curve[i].double(), torch.tensor(expected).double(), atol=1e-5, rtol=0)
            assert score.values[i].item() == pytest.approx(rise_auc(expected), abs=1e-5)
    scored.float()


@torch.no_grad()
def test_equals_the_rise_loop_on_images_that_are_not_square(scored: nn.Module) -> None:
    if not isinstance(scored, SmallCNN):
        scored = settled(fused_vit(dynamic_img_size=True))
    image = torch.randn(1, 3, 24, 40)
    engine = xai.Engine(scored)
    saliency = torch.rand(1, 24, 40)
    scores = engine.evaluate(image, {"m": saliency}, ["deletion", "insertion"])["m"]
    for metric, score in scores.items():
        expected = rise_loop(scored.double(), image[0].double(), saliency[0], metric, step=40)
        scored.float()
        assert score.values[0].item() == pytest.approx(rise_auc(expected), abs=1e-5)


@pytest.mark.parametrize("steps", [None, 5, 64])
@pytest.mark.parametrize("baseline", ["zero", "mean", "blur", "noise", "tensor"])
def test_closed_form_on_a_linear_model(steps: int | None, baseline: str) -> None:
    """A logit that is linear in the image is a cumulative sum of the pixels' contributions in their order."""
    size, target = (8, 12), torch.tensor([1, 3, 0])
    model, images = Linear(size), torch.randn(3, 3, *size)
    given: Any = torch.randn(3, 1, 1) if baseline == "tensor" else baseline
    blank = baseline_images(given, images, seed=5)
    contribution = ((images - blank) * model.weight[target]).sum(1).flatten(1).detach()  # [B,HW]
    saliency = torch.rand(3, *size)
    order = saliency.flatten(1).argsort(1, descending=True)
    removed = torch.cat([torch.zeros(3, 1), contribution.gather(1, order).cumsum(1)], 1)
    pixels = size[0] * size[1]
    counts = [round(i * pixels / (steps or size[0])) for i in range((steps or size[0]) + 1)]
    whole = model(images).gather(1, target[:, None]).detach()
    empty = model(blank).gather(1, target[:, None]).detach()
    expected = {"deletion": whole - removed[:, counts], "insertion": empty + removed[:, counts]}

    engine = xai.Engine(model)
    maps = {"m": xai.Saliency.of(saliency, 3, size, engine.explain(images, "grad-cam", target)["grad-cam"].target, "m")}
    metrics = [xai.create_metric(n, steps=steps, baseline=given, score="logit", seed=5) for n in expected]
    for name, score in engine.evaluate(images, maps, metrics)["m"].items():
        assert score.curve is not None
        torch.testing.assert_close(score.curve, expected[name], atol=1e-4, rtol=1e-5)
        area = torch.trapezoid(expected[name], dim=1) / (len(counts) - 1)
        torch.testing.assert_close(score.values, area, atol=1e-4, rtol=1e-5)


def test_the_best_and_the_worst_order_on_a_linear_model() -> None:
    size, target = (8, 8), 2
    model, images = Linear(size), torch.randn(4, 3, *size)
    contribution = (images * model.weight[target]).sum(1).detach()
    engine = xai.Engine(model)
    bound = engine.explain(images, "grad-cam", target)["grad-cam"].target
    maps = {
        name: xai.Saliency.of(saliency, 4, size, bound, name)
        for name, saliency in {"best": contribution, "random": torch.rand(4, *size), "worst": -contribution}.items()
    }
    metrics = ["deletion:score=logit", "insertion:score=logit,baseline=zero"]
    scores = engine.evaluate(images, maps, metrics)
    for metric, direction in zip(metrics, (-1, 1), strict=True):
        values = [direction * scores[name][metric].values for name in ("best", "random", "worst")]
        assert (values[0] > values[1]).all()
        assert (values[1] > values[2]).all()
    assert scores["best"][metrics[0]].higher_is_better is False
    assert scores["best"][metrics[1]].higher_is_better is True


def test_deletion_and_insertion_under_one_baseline_mirror_each_other(scored: nn.Module, images: Tensor) -> None:
    """What deletion keeps of one map, insertion brings back of the reversed map."""
    engine = xai.Engine(scored)
    values = torch.rand(3, 32, 32)
    metrics = ["deletion", "insertion:baseline=zero"]
    scores = engine.evaluate(images, {"map": values, "reversed": -values}, metrics)
    deleted, inserted = scores["map"]["deletion"].curve, scores["reversed"]["insertion:baseline=zero"].curve
    torch.testing.assert_close(deleted, inserted.flip(1), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_scores_do_not_change_with_the_block_or_the_batch(scored: nn.Module, images: Tensor, block: int) -> None:
    values, metrics = xai.Engine(scored).explain(images, "grad-cam")["grad-cam"].values, ["deletion", "insertion"]
    expected = xai.Engine(scored, block=13).evaluate(images, {"m": values}, metrics)["m"]
    together = xai.Engine(scored, block=block).evaluate(images, {"m": values}, metrics)["m"]
    single = xai.Engine(scored, block=block).evaluate(images[1:2], {"m": values[1:2]}, metrics)["m"]
    for metric, score in together.items():
        torch.testing.assert_close(score.values, expected[metric].values, atol=1e-5, rtol=0)
        torch.testing.assert_close(single[metric].values, expected[metric].values[1:2], atol=1e-5, rtol=0)


def test_deletion_and_insertion_share_order_and_ends(scored: nn.Module, images: Tensor) -> None:
    """For M maps: the image and each baseline are scored once, and the inner points of each curve."""
    engine = xai.Engine(scored)
    maps = {**engine.explain(images, ["grad-cam", "score-cam"])}
    with given_to(scored) as batches:
        engine.evaluate(images, maps, ["deletion", "insertion"])
    assert sum(map(len, batches)) == 3 * (3 + 2 * 2 * 31)


@torch.no_grad()
def test_srg_is_the_area_between_removing_least_and_most_first(scored: nn.Module, images: Tensor) -> None:
    values = torch.rand(3, 32, 32)
    score = xai.Engine(scored).evaluate(images, {"m": values}, "srg")["m"]["srg"]
    reference = scored.double()
    for i, image in enumerate(images.double()):
        least, most = (rise_loop(reference, image, sign * values[i], "deletion", step=32) for sign in (-1, 1))
        assert score.values[i].item() == pytest.approx(rise_auc(least) - rise_auc(most), abs=1e-5)
        assert score.curve is not None
        gain = torch.tensor(least).double() - torch.tensor(most).double()
        torch.testing.assert_close(score.curve[i].double(), gain, atol=1e-5, rtol=0)


@pytest.mark.parametrize("steps", [None, 7])
def test_srg_scores_nothing_that_deletion_and_insertion_scored(
    scored: nn.Module, images: Tensor, steps: int | None
) -> None:
    engine = xai.Engine(scored)
    maps = {"one": torch.rand(3, 32, 32), "two": torch.rand(3, 32, 32)}
    engine.adapter(images)
    metrics = [xai.create_metric(spec, steps=steps) for spec in ("deletion", "insertion:baseline=zero", "srg")]
    with given_to(scored) as batches:
        scores = engine.evaluate(images, maps, metrics)["two"]
    assert sum(map(len, batches)) == 3 * (1 + 2 + 2 * 2 * ((steps or 32) - 1))
    deletion, insertion, srg = (score.values for score in scores.values())
    assert torch.equal(srg, insertion - deletion)


def test_srg_under_other_baselines_and_scores(scored: nn.Module, images: Tensor) -> None:
    maps = {"m": torch.rand(3, 32, 32)}
    options = {"baseline": "noise", "score": "logit", "ties": "random", "seed": 4, "steps": 5}
    metrics = [xai.create_metric(name, **options) for name in ("srg", "insertion", "deletion")]
    srg, insertion, deletion = xai.Engine(scored).evaluate(images, maps, metrics)["m"].values()
    assert torch.equal(srg.values, insertion.values - deletion.values)


def test_memory_is_bounded_by_the_block(scored: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(scored, block=8)
    with given_to(scored) as batches:
        engine.evaluate(images, engine.explain(images, ["score-cam"]), ["deletion", "insertion"])
    assert max(map(len, batches)) == 8


def test_a_larger_budget_gives_larger_blocks(scored: nn.Module, images: Tensor) -> None:
    def largest(memory: int) -> int:
        engine = xai.Engine(scored, memory=memory)
        with given_to(scored) as batches:
            engine.evaluate(images[:1], engine.explain(images[:1], "grad-cam"), "deletion")
        return max(map(len, batches))

    assert largest(1) == 1
    assert 1 < largest(2**18) < 31
    assert largest(2**40) == 31


def test_out_of_memory_halves_the_block_and_goes_on(scored: nn.Module, images: Tensor) -> None:
    expected = xai.Engine(scored).evaluate(images, {"m": images[:, 0]}, "deletion")["m"]["deletion"]

    def refuse(_: nn.Module, args: tuple[Tensor]) -> None:
        if len(args[0]) > 3:
            raise torch.OutOfMemoryError("no room")

    handle = scored.register_forward_pre_hook(refuse)
    with pytest.warns(OutOfMemoryWarning, match="at once"):
        given = xai.Engine(scored, block=64).evaluate(images, {"m": images[:, 0]}, "deletion")["m"]["deletion"]
    handle.remove()
    torch.testing.assert_close(given.values, expected.values, atol=1e-5, rtol=0)

    def refuse_all(*_: Any) -> None:
        raise torch.OutOfMemoryError("no room at all")

    engine = xai.Engine(scored)
    saliency = engine.explain(images, "grad-cam")
    handle = scored.register_forward_pre_hook(refuse_all)
    with pytest.raises(torch.OutOfMemoryError), pytest.warns(OutOfMemoryWarning):
        engine.evaluate(images, saliency, "deletion")
    handle.remove()


def test_the_target_of_the_map_is_scored(scored: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(scored)
    for target in (1, lambda output: output[:, 1].exp()):
        maps = engine.explain(images, "grad-cam", target)
        score = engine.evaluate(images, maps, "deletion")["grad-cam"]["deletion"]
        assert score.curve is not None
        output = scored(images).detach()
        expected = output.softmax(1)[:, 1] if target == 1 else target(output)
        torch.testing.assert_close(score.curve[:, 0], expected, atol=1e-5, rtol=1e-4)


def test_blur_is_that_of_rise() -> None:
    images = torch.randn(2, 3, 20, 30)
    expected = rise_blur(images.double())
    torch.testing.assert_close(baseline_images("blur", images).double(), expected, atol=1e-6, rtol=0)


def test_baselines() -> None:
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(baseline_images("zero", images), torch.zeros_like(images))
    torch.testing.assert_close(baseline_images("mean", images)[1, 2, 3, 4], images[1, 2].mean())
    assert torch.equal(baseline_images("min", images)[1], images[1].min().expand(3, 8, 8))
    assert torch.equal(baseline_images("max", images)[1], images[1].max().expand(3, 8, 8))
    noise = baseline_images("noise", images, seed=1)
    assert torch.equal(noise, baseline_images("noise", images, seed=1))
    assert torch.equal(noise[0], noise[1])
    assert not torch.equal(noise, baseline_images("noise", images, seed=2))
    with pytest.raises(OptionError, match="zero, mean, blur, min, max, noise or a tensor"):
        baseline_images("black", images)
    with pytest.raises(OptionError, match="broadcast"):
        baseline_images(torch.zeros(5), images)


def test_ranks() -> None:
    saliency = torch.tensor([[[0.5, 1.0], [0.5, 0.0]]])
    assert ranks(saliency).tolist() == [[[1, 0], [2, 3]]]
    tied = torch.zeros(1, 8, 8)
    assert torch.equal(ranks(tied).flatten(), torch.arange(64))
    one, two = (ranks(tied, "random", seed) for seed in (0, 1))
    assert torch.equal(one, ranks(tied, "random", 0))
    assert not torch.equal(one, two)
    assert sorted(one.flatten().tolist()) == list(range(64))
    half = torch.arange(64).view(1, 8, 8) // 32 * 1.0
    assert set(ranks(half, "random", 3)[0, 4:].flatten().tolist()) == set(range(32))


def test_bad_options_and_maps(scored: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(scored)
    maps = engine.explain(images, "grad-cam")
    with pytest.raises(UnknownMetricError, match="'deletion'"):
        engine.evaluate(images, maps, "deletoin")
    with pytest.raises(OptionError, match="it takes steps, baseline, score, ties, seed"):
        xai.create_metric("deletion", step=3)
    for options in ({"steps": 0}, {"score": "prob"}, {"ties": "first"}, {"baseline": "black"}, {"steps": 2000}):
        with pytest.raises(OptionError):
            engine.evaluate(images, maps, xai.create_metric("deletion", **options))
    with pytest.raises(InputShapeError, match="must have the shape of the images"):
        engine.evaluate(images[:2], maps, "deletion")
