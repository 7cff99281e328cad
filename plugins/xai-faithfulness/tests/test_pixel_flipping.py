"""Pixel flipping and AOPC against a loop over squares in float64, and against deletion."""

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.explaining import maps_for
from support.models import Linear, SmallCNN, settled
from support.observing import given_to
from xai_core.errors import OptionError
from xai_core.plugin import baseline_images, ranks
from xai_faithfulness.regions import region_means


@pytest.fixture
def cnn() -> nn.Module:
    model = settled(SmallCNN())
    model.head.weight.data *= 4  # confident, so that the curves move
    return model


@torch.no_grad()
def flipping_loop(model: nn.Module, image: Tensor, saliency: Tensor, blank: Tensor, side: int) -> list[float]:
    """The probability after each square [side,side] of one image, the most relevant first, in float64."""
    height, width = saliency.shape
    corners = [(top, left) for top in range(0, height, side) for left in range(0, width, side)]
    relevance = {
        (top, left): saliency[top : top + side, left : left + side].double().mean().item() for top, left in corners
    }
    target = model(image[None]).argmax().item()
    image = image.clone()
    scores = [model(image[None]).softmax(1)[0, target].item()]
    for top, left in sorted(corners, key=lambda corner: -relevance[corner]):
        square = (slice(None), slice(top, top + side), slice(left, left + side))
        image[square] = blank[square]
        scores.append(model(image[None]).softmax(1)[0, target].item())
    return scores


@pytest.mark.parametrize("side", [4, 9])
@pytest.mark.parametrize("size", [(32, 32), (20, 28)])
def test_equal_the_loop_over_squares(cnn: nn.Module, side: int, size: tuple[int, int]) -> None:
    images, saliency = torch.randn(2, 3, *size), torch.rand(2, *size)
    metrics = [xai.create_metric(name, region=side) for name in ("pixel-flipping", "aopc")]
    flipping, aopc = xai.Engine(cnn).evaluate(images, {"m": saliency}, metrics)["m"].values()
    blank = baseline_images("noise", images).double()
    reference = cnn.double()
    for i, image in enumerate(images.double()):
        expected = flipping_loop(reference, image, saliency[i], blank[i], side)
        regions = math.ceil(size[0] / side) * math.ceil(size[1] / side)
        assert len(expected) == regions + 1
        for score in (flipping, aopc):
            assert score.curve is not None
            torch.testing.assert_close(score.curve[i].double(), torch.tensor(expected).double(), atol=1e-5, rtol=0)
        area = sum((one + other) / 2 for one, other in itertools.pairwise(expected)) / regions
        assert flipping.values[i].item() == pytest.approx(area, abs=1e-5)
        lost = sum(expected[0] - score for score in expected) / (regions + 1)
        assert aopc.values[i].item() == pytest.approx(lost, abs=1e-5)


def test_fewer_steps_take_every_so_many_points(cnn: nn.Module, images: Tensor) -> None:
    maps = {"m": torch.rand(3, 32, 32)}
    metrics = [xai.create_metric("pixel-flipping", region=8, steps=steps) for steps in (None, 4)]
    each, few = xai.Engine(cnn).evaluate(images, maps, metrics)["m"].values()
    assert each.curve is not None
    assert few.curve is not None
    assert each.curve.shape == (3, 17)
    torch.testing.assert_close(few.curve, each.curve[:, ::4], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(few.fractions, torch.tensor([0, 0.25, 0.5, 0.75, 1]))


def test_one_walk_for_all_that_are_the_same(cnn: nn.Module, images: Tensor) -> None:
    """AOPC shares it with pixel flipping, and squares of one pixel with deletion."""
    engine, maps = xai.Engine(cnn), {"m": torch.rand(3, 32, 32)}
    engine.adapter(images)

    def evaluated(*metrics: Any) -> tuple[int, list[Tensor]]:
        made = [xai.create_metric(name, **options) for name, options in metrics]
        with given_to(cnn) as batches:
            scores = engine.evaluate(images, maps, made)["m"]
        return sum(map(len, batches)), [score.values for score in scores.values()]

    seen, _ = evaluated(("pixel-flipping", {}))
    assert evaluated(("pixel-flipping", {}), ("aopc", {}))[0] == seen
    pixels: dict[str, Any] = {"region": 1, "baseline": "zero", "steps": 16}
    alone, _ = evaluated(("deletion", {"steps": 16}))
    together, (deletion, flipping) = evaluated(("deletion", {"steps": 16}), ("pixel-flipping", pixels))
    assert together == alone
    assert torch.equal(deletion, flipping)


@pytest.mark.parametrize("ties", ["stable", "random"])
def test_the_best_and_the_worst_order_on_a_linear_model(ties: str) -> None:
    size = (8, 8)
    model, images = Linear(size), torch.randn(4, 3, *size)
    contribution = (images * model.weight[2]).sum(1).detach()
    engine = xai.Engine(model)
    maps = maps_for(2, engine, images, best=contribution, random=torch.rand(4, *size), worst=-contribution)
    options = {"region": 3, "baseline": "zero", "score": "logit", "ties": ties, "seed": 1}
    for name, direction in {"pixel-flipping": -1, "aopc": 1}.items():
        scores = engine.evaluate(images, maps, xai.create_metric(name, **options))
        best, random, worst = (direction * scores[key][name].values for key in maps)
        assert (best > random).all()
        assert (random > worst).all()


@pytest.mark.parametrize(("size", "side"), [((8, 8), 2), ((8, 12), 5)])
def test_closed_form_on_a_linear_model(size: tuple[int, int], side: int) -> None:
    """Each square takes what its pixels add to the logit, whatever the others do."""
    model, images, saliency = Linear(size), torch.randn(3, 3, *size), torch.rand(3, *size)
    engine = xai.Engine(model)
    maps = maps_for(2, engine, images, m=saliency)
    options: dict[str, Any] = {"region": side, "baseline": "zero", "score": "logit"}
    metrics = [xai.create_metric(name, **options) for name in ("pixel-flipping", "aopc")]
    flipping, aopc = engine.evaluate(images, maps, metrics)["m"].values()
    added = (images * model.weight[2]).sum(1).detach().double()
    for i in range(3):
        squares = [
            (slice(top, top + side), slice(left, left + side))
            for top in range(0, size[0], side)
            for left in range(0, size[1], side)
        ]
        squares.sort(key=lambda square, i=i: -saliency[i][square].double().mean().item())
        lost = torch.tensor([0.0, *(added[i][square].sum().item() for square in squares)]).double().cumsum(0)
        expected = added[i].sum() - torch.trapezoid(lost) / len(squares)
        torch.testing.assert_close(flipping.values[i].double(), expected, atol=1e-4, rtol=0)
        torch.testing.assert_close(aopc.values[i].double(), lost.mean(), atol=1e-4, rtol=0)


def test_squares_of_the_same_values_are_equal_and_go_by_index() -> None:
    """In whatever order the values are; and so is a plateau in squares of any size."""
    values = torch.rand(81)
    shuffled = torch.stack([values[torch.randperm(81)] for _ in range(12)]).view(3, 4, 9, 9)
    maps = {"shuffled": shuffled.transpose(1, 2).reshape(1, 27, 36), "plateau": torch.full((1, 32, 40), 0.3)}
    for name, one in maps.items():
        means = region_means(one, 9)
        assert (means == means.flatten()[0]).all(), name
        assert ranks(means).flatten().tolist() == list(range(means.numel())), name


def test_more_steps_than_squares(images: Tensor) -> None:
    with pytest.raises(OptionError, match=r"between 1 and the number of pixels or regions \(16\); got 17"):
        xai.Engine(SmallCNN()).evaluate(images, {"m": images[:, 0]}, "pixel-flipping:region=8,steps=17")


def test_squares_that_make_no_sense(images: Tensor) -> None:
    with pytest.raises(OptionError, match="at least 1, got 0"):
        xai.create_metric("aopc:region=0")
    with pytest.raises(OptionError, match=r"at most the height and width of the image \(32x32\); got 33"):
        xai.Engine(SmallCNN()).evaluate(images, {"m": images[:, 0]}, "pixel-flipping:region=33")
