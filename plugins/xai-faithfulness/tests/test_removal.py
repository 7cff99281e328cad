"""Correlations of relevance with losses, against SciPy on the images that were really scored, and closed forms."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from torch import Tensor, nn

import xai_core as xai
from support.explaining import maps_for
from support.models import Linear, SmallCNN, settled
from support.observing import given_to
from support.references import resized
from xai_core.errors import OptionError
from xai_core.plugin import baseline_images

BOTH = ["sensitivity-n", "faithfulness-correlation"]


@pytest.fixture
def cnn() -> nn.Module:
    return settled(SmallCNN())


def evaluated(engine: xai.Engine, images: Tensor, maps: dict[str, Any], metric: xai.Metric) -> tuple[Tensor, Tensor]:
    """The values of the first map, and all images that were scored but the whole ones, [B,N,C,H,W] of N sets."""
    engine.adapter(images)
    with given_to(engine.model) as batches:
        scores = engine.evaluate(images, maps, metric)
    [first, *_] = scores.values()
    [score] = first.values()
    perturbed = [one for one in batches if len(one) > len(images)]
    return score.values, torch.stack([one.unflatten(0, (len(images), -1)) for one in perturbed])


@pytest.mark.parametrize("kind", ["logit", "probability"])
@pytest.mark.parametrize("region", [1, 5])
@pytest.mark.parametrize(("name", "baseline"), [(BOTH[0], "zero"), (BOTH[1], "mean")])
def test_equal_the_correlation_of_scipy(
    cnn: nn.Module, images: Tensor, name: str, baseline: str, region: int, kind: str
) -> None:
    """With the subsets read off the images that the model was given, and everything else in float64."""
    engine = xai.Engine(cnn, block=1000)
    maps = engine.explain(images, "grad-cam", [1, 2, 4])
    metric = xai.create_metric(name, n=20, region=region, samples=30, score=kind)
    values, [perturbed] = evaluated(engine, images, maps, metric)
    removed = (perturbed != images[:, None]).all(2)  # [B,N,H,W]
    assert torch.equal(removed[0], removed[1])
    blank = baseline_images(baseline, images)
    expected = torch.where(removed[:, :, None], blank[:, None], images[:, None])
    torch.testing.assert_close(perturbed, expected, atol=1e-6, rtol=0)
    assert len({tuple(one.flatten().tolist()) for one in removed[0]}) == 30
    double = cnn.double()
    relevance = resized(maps["grad-cam"].raw, (32, 32)).double().numpy()
    for i, target in enumerate([1, 2, 4]):
        sums, losses = [], []
        for without, gone in zip(perturbed[i].double(), removed[i].numpy(), strict=True):
            corners = [(r, c) for r in range(0, 32, region) for c in range(0, 32, region) if gone[r, c]]
            squares = [(slice(r, r + region), slice(c, c + region)) for r, c in corners]
            assert len(corners) == 20
            assert sum(gone[square].size for square in squares) == gone.sum()
            sums.append(sum(relevance[i][square].sum() for square in squares))
            with torch.no_grad():
                whole, left = (double(one[None])[0] for one in (images[i].double(), without))
            if kind == "probability":
                whole, left = whole.softmax(0), left.softmax(0)
            losses.append((whole - left)[target].item())
        assert values[i].item() == pytest.approx(pearsonr(sums, losses).statistic, abs=2e-4)


def test_sensitivity_n_is_the_mean_over_sizes(cnn: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(cnn, block=1000)
    maps = engine.explain(images, "grad-cam")
    values, perturbed = evaluated(engine, images, maps, xai.create_metric("sensitivity-n:samples=15"))
    sizes = (perturbed != images[None, :, None]).all(3).sum((3, 4))
    assert (sizes == sizes[:, :1, :1]).all()
    sizes = sizes[:, 0, 0]
    expected = np.geomspace(1, 0.8 * 32 * 32, 8).round().astype(int)
    assert sizes.tolist() == expected.tolist()
    each = [xai.create_metric(f"sensitivity-n:samples=15,n={n}") for n in expected]
    singles = engine.evaluate(images, maps, each)["grad-cam"].values()
    torch.testing.assert_close(values, torch.stack([one.values for one in singles]).mean(0))


@pytest.mark.parametrize("name", BOTH)
@pytest.mark.parametrize("region", [1, 2, 3, 5])  # the last two do not divide the sides
def test_the_contributions_of_a_linear_model_are_perfect(name: str, region: int) -> None:
    size = (8, 12)
    model, images = Linear(size), torch.randn(4, 3, *size)
    baseline = torch.randn(3, 1, 1)
    contribution = ((images - baseline) * model.weight[2]).sum(1).detach()
    engine = xai.Engine(model)
    maps = maps_for(2, engine, images, best=contribution, worst=-contribution, flat=torch.ones(4, *size))
    scores = engine.evaluate(images, maps, xai.create_metric(name, region=region, baseline=baseline))
    for key, expected in {"best": 1, "worst": -1, "flat": 0}.items():
        torch.testing.assert_close(scores[key][name].values, torch.full((4,), float(expected)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1e30])
@pytest.mark.parametrize("name", BOTH)
def test_losses_and_relevance_of_any_size(name: str, scale: float) -> None:
    size = (8, 12)
    model, images = Linear(size), torch.randn(4, 3, *size)
    contribution = (images * model.weight[2]).sum(1).detach()
    model.weight.data *= scale
    engine = xai.Engine(model)
    maps = maps_for(2, engine, images, same=contribution, small=contribution * 1e-30, large=contribution * 1e30)
    for one in engine.evaluate(images, maps, xai.create_metric(name, region=3, baseline="zero")).values():
        torch.testing.assert_close(one[name].values, torch.ones(4), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", [*BOTH, "infidelity"])
def test_further_maps_cost_no_forward(cnn: nn.Module, images: Tensor, name: str) -> None:
    engine = xai.Engine(cnn)
    engine.adapter(images)
    counts = []
    for names in ("a", "abc"):
        with given_to(cnn) as batches:
            maps = maps_for(1, engine, images, **{name: torch.rand(3, 32, 32) for name in names})
            engine.evaluate(images, maps, xai.create_metric(name, samples=7))
        counts.append(sum(map(len, batches)))
    assert counts[0] == counts[1]


@pytest.mark.parametrize("name", [*BOTH, "infidelity"])
def test_the_seed_draws_the_sets(cnn: nn.Module, images: Tensor, name: str) -> None:
    engine = xai.Engine(cnn)
    metrics = [xai.create_metric(name, seed=seed, samples=20) for seed in (0, 0, 1)]
    one, again, other = (
        score.values for score in engine.evaluate(images, {"m": torch.rand(3, 32, 32)}, metrics)["m"].values()
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    "options", [{"n": 0}, {"region": 0}, {"samples": 1}, {"score": "prob"}, {"n": 1024}, {"region": 40}]
)
@pytest.mark.parametrize("name", BOTH)
def test_options_that_make_no_sense(name: str, options: dict[str, Any]) -> None:
    images = torch.randn(1, 3, 32, 32)
    with pytest.raises(OptionError, match=r"must be"):
        xai.Engine(SmallCNN()).evaluate(images, {"m": images[:, 0]}, xai.create_metric(name, **options))


def test_the_default_is_a_row() -> None:
    images, model = torch.randn(1, 3, 24, 40), settled(SmallCNN())
    _, [perturbed] = evaluated(
        xai.Engine(model, block=1000),
        images,
        {"m": images[:, 0]},
        xai.create_metric("faithfulness-correlation:region=3,samples=5"),
    )
    removed = (perturbed != images[:, None]).all(2)[:, :, ::3, ::3]
    assert (removed.sum((2, 3)) == math.ceil(40 / 3)).all()
