"""Average drop and average increase against torchcam's on the same maps, and against closed forms."""

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor, nn
from torchcam.metrics import ClassificationMetric

import xai_core as xai
from support.explaining import maps_for
from support.models import Constant, Linear, SmallCNN, settled
from support.observing import given_to
from xai_core.errors import OptionError
from xai_faithfulness.matched_drop import matched

BOTH = ["average-drop", "average-increase"]


class Given:
    """What torchcam's metric asks of a method, with maps that are given."""

    def __init__(self, model: nn.Module, maps: Tensor) -> None:
        self.model, self._maps = model, maps

    def __call__(self, *_: Any, **__: Any) -> list[Tensor]:
        return [self._maps]

    def fuse_cams(self, cams: list[Tensor]) -> Tensor:
        return cams[0]

    def _hooks_off(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


def by_torchcam(model: nn.Module, images: Tensor, maps: Tensor, classes: list[int]) -> tuple[float, float]:
    metric = ClassificationMetric(Given(model, maps), lambda logits: logits.softmax(1))
    metric.update(images, classes)
    return metric.summary()["avg_drop"], metric.summary()["conf_increase"]


@pytest.mark.parametrize("mute", [0, 0.5, 0.75])
def test_equal_those_of_torchcam(images: Tensor, mute: float) -> None:
    images = torch.cat([images, torch.randn(5, 3, 32, 32)])
    model, classes = settled(SmallCNN()), [1, 3, 0, 2, 4, 4, 1, 0]
    model.head.weight.data *= 8  # confident, so that probabilities move
    engine = xai.Engine(model)
    maps = maps_for(classes, engine, images, m=torch.rand(8, 32, 32))
    scores = engine.evaluate(images, maps, [xai.create_metric(name, mute=mute) for name in BOTH])["m"]
    values = maps["m"].values.double()
    threshold = values.flatten(1).quantile(mute, 1)[:, None, None]
    muted = values.where(values >= threshold, 0)
    reference = model.double()
    for i in range(8):
        drop, increase = by_torchcam(reference, images[i : i + 1].double(), muted[i : i + 1], classes[i : i + 1])
        assert scores["average-drop"].values[i].item() == pytest.approx(drop, abs=1e-5)
        assert scores["average-increase"].values[i].item() == increase
    assert 0 < scores["average-increase"].values.mean() < 1


def test_a_map_that_keeps_what_speaks_for_the_class_is_best() -> None:
    """On a linear model nothing is lost, and much is won, where only pixels that speak for the class are kept."""
    model, images = Linear((8, 12)), torch.randn(4, 3, 8, 12)
    model.weight.data[1:] = 0
    model.weight.data *= 0.1
    contribution = (images * model.weight[0]).sum(1).detach()
    engine = xai.Engine(model)
    maps = maps_for(0, engine, images, best=(contribution > 0).float(), worst=(contribution < 0).float())
    scores = engine.evaluate(images, maps, BOTH)
    assert torch.equal(scores["best"]["average-drop"].values, torch.zeros(4))
    assert torch.equal(scores["best"]["average-increase"].values, torch.ones(4))
    assert torch.equal(scores["worst"]["average-increase"].values, torch.zeros(4))
    kept = model(images * (contribution < 0)[:, None]).softmax(1)[:, 0]
    lost = 1 - kept / model(images).softmax(1)[:, 0]
    torch.testing.assert_close(scores["worst"]["average-drop"].values, lost.detach())


def test_muting_half_leaves_half_of_the_pixels() -> None:
    """The most salient ones, each times its saliency; of equal ones those of lower index."""
    model, images = Linear((2, 2), 2), torch.ones(1, 3, 2, 2)
    model.weight.data[:] = torch.tensor([[[1.0, 2.0], [4.0, 8.0]], [[0.0, 0.0], [0.0, 0.0]]])[:, None] / 12
    engine = xai.Engine(model)
    given = {"distinct": torch.tensor([[[0.0, 1.0], [0.25, 0.5]]]), "tied": torch.tensor([[[1.0, 0.5], [0.5, 0.0]]])}
    scores = engine.evaluate(images, maps_for(0, engine, images, **given), ["average-drop:mute=0.5"])
    whole = torch.tensor(15 / 4).sigmoid()
    for name, kept in {"distinct": (2 + 8 * 0.5) / 4, "tied": (1 + 2 * 0.5) / 4}.items():
        expected = 1 - torch.tensor(kept).sigmoid() / whole
        torch.testing.assert_close(scores[name]["average-drop:mute=0.5"].values, expected[None])


def test_the_masked_image_is_scored_once(images: Tensor) -> None:
    model = settled(SmallCNN())
    engine = xai.Engine(model)
    maps = engine.explain(images, "grad-cam")
    with given_to(model) as batches:
        engine.evaluate(images, maps, [*BOTH, "average-drop:mute=0.5", "average-increase:mute=0.5"])
    assert sum(map(len, batches)) == 3 * (1 + 2)


@pytest.mark.parametrize("score", [0.0, -1.0])
def test_an_image_with_nothing_to_lose_drops_by_nothing(score: float) -> None:
    images, engine = torch.randn(2, 3, 8, 12), xai.Engine(Constant((8, 12)))
    maps = maps_for(lambda output: output[:, 0] * 0 + score, engine, images, m=torch.rand(2, 8, 12))
    scores = engine.evaluate(images, maps, BOTH)["m"]
    for name in BOTH:
        assert torch.equal(scores[name].values, torch.zeros(2))


@pytest.mark.parametrize("mute", [0, 0.5])
def test_average_gain_is_the_fraction_of_the_possible_increase(images: Tensor, mute: float) -> None:
    model, maps = settled(SmallCNN()), torch.rand(len(images), 32, 32)
    engine = xai.Engine(model)
    given = maps_for([1, 3, 0], engine, images, m=maps)
    found = engine.evaluate(images, given, xai.create_metric("average-gain", mute=mute))["m"]
    reference = model.double()
    gains = []
    for image, values, label in zip(images.double(), given["m"].values.double(), [1, 3, 0], strict=True):
        kept = values.where(values >= values.quantile(mute), 0)
        before, after = reference(torch.stack([image, image * kept])).softmax(1)[:, label].tolist()
        gains.append(max(0.0, after - before) / (1 - before))
    assert 0 < max(gains) < 1
    [values] = found.values()
    torch.testing.assert_close(values.values.double(), torch.tensor(gains).double(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("score", [1.0, 2.0])
def test_nothing_can_be_gained_above_one(score: float) -> None:
    images, engine = torch.randn(2, 3, 8, 12), xai.Engine(Constant((8, 12)))
    maps = maps_for(lambda output: output[:, 0] * 0 + score, engine, images, m=torch.rand(2, 8, 12))
    assert torch.equal(engine.evaluate(images, maps, "average-gain")["m"]["average-gain"].values, torch.zeros(2))


@pytest.mark.parametrize("area", [0.1, 0.25, 0.7])
@pytest.mark.parametrize("levels", [5, 10**6])
def test_matched_maps_have_the_same_values_in_their_own_order(area: float, levels: int) -> None:
    maps = torch.randint(levels, (3, 8, 12), generator=torch.Generator().manual_seed(0)) / levels
    profile = [integrate.quad(lambda u: u ** (1 / area - 1), i / 96, (i + 1) / 96)[0] * 96 for i in range(96)]
    for values, found in zip(maps.flatten(1).numpy(), matched(maps, area).flatten(1).double().numpy(), strict=True):
        first, last = (stats.rankdata(values, method).astype(int) for method in ("min", "max"))
        expected = [np.mean(profile[a - 1 : b]) for a, b in zip(first, last, strict=True)]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-7)
        assert found.mean() == pytest.approx(area, rel=1e-5)


def test_matched_drop_depends_on_the_order_only(images: Tensor) -> None:
    model, maps = settled(SmallCNN()), torch.rand(len(images), 32, 32)
    model.head.weight.data *= 8
    labels = model(images).argmax(1).tolist()
    engine = xai.Engine(model)
    given = maps_for(labels, engine, images, plain=maps, flat=maps**0.25)
    scores = engine.evaluate(images, given, ["average-drop", "matched-drop"])
    plain, flat = (scores[name]["matched-drop"].values for name in ("plain", "flat"))
    torch.testing.assert_close(plain, flat)
    assert (scores["flat"]["average-drop"].values < scores["plain"]["average-drop"].values).any()
    masked = images * matched(maps, 0.5)[:, None]
    before, after = (model(each).softmax(1)[range(3), labels] for each in (images, masked))
    expected = (1 - after / before).clamp(min=0)
    assert expected.amax() > 0
    torch.testing.assert_close(plain, expected.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("area", [0, 1, -0.5])
def test_the_area_of_matched_maps_is_between_zero_and_one(area: float) -> None:
    with pytest.raises(OptionError, match=r"area must be a number in \(0, 1\)"):
        xai.create_metric("matched-drop", area=area)


@pytest.mark.parametrize("mute", [-0.1, 1, 2])
@pytest.mark.parametrize("name", [*BOTH, "average-gain"])
def test_a_share_that_is_none(name: str, mute: float) -> None:
    with pytest.raises(OptionError, match=r"mute must be a number in \[0, 1\)"):
        xai.create_metric(name, mute=mute)
