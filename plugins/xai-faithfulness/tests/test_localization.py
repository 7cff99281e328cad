"""Metrics that compare a map with a mask, against loops over pixels in float64 and SciPy's distances."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, settled
from support.observing import HostReads
from xai_core.errors import NoGroundTruthError, OptionError
from xai_core.plugin import ranks, resize

Array = NDArray[np.float64]
METRICS = ["pointing-game", "energy-pointing-game", "relevance-mass", "relevance-rank", "iou"]
SIZE = (24, 32)


@pytest.fixture
def engine() -> xai.Engine:
    return xai.Engine(settled(SmallCNN()))


@pytest.fixture
def masks() -> Tensor:
    """A box, scattered pixels, one pixel, and everything."""
    masks = torch.zeros(4, *SIZE, dtype=torch.bool)
    masks[0, 5:15, 8:20] = True
    masks[1] = torch.rand(SIZE) < 0.2
    masks[2, 7, 30] = True
    masks[3] = True
    return masks


def score(engine: xai.Engine, maps: Tensor, masks: Tensor, metric: str) -> Tensor:
    """The metric of maps of one's own."""
    made = engine.evaluate(torch.randn(len(maps), 3, *maps.shape[1:]), {"mine": maps}, metric, masks)["mine"][metric]
    assert made.higher_is_better
    return made.values.double()


def pointing(values: Array, mask: NDArray[np.bool_], tolerance: float) -> float:
    away = ndimage.distance_transform_edt(~mask)
    peaks = np.argwhere(values == values.max())
    return float(np.mean([away[tuple(peak)] <= tolerance for peak in peaks]))


def energy(values: Array, mask: NDArray[np.bool_]) -> float:
    return float(sum(values[mask]) / (sum(values[mask]) + sum(values[~mask])))


def rank_of_random_orders(values: Array, mask: NDArray[np.bool_]) -> float:
    """The mean over orders in which ties are shuffled."""
    generator, flat, inside, size = np.random.default_rng(0), values.flatten(), mask.flatten(), mask.sum()
    orders = (np.lexsort((generator.random(flat.size), -flat)) for _ in range(4000))
    return float(np.mean([inside[order[:size]].mean() for order in orders]))


def best_of_all_thresholds(values: Array, mask: NDArray[np.bool_]) -> float:
    return max(
        ((values >= t) & mask).sum() / ((values >= t) | mask).sum() for t in np.unique(values)
    )  # fmt: skip


def normalized(maps: Tensor) -> list[Array]:
    return [(one - one.min()) / (one.max() - one.min()) for one in maps.double().numpy()]


@pytest.mark.parametrize("tolerance", [0, 1, 2.5, 5, 15])
def test_pointing_game_is_by_distance(engine: xai.Engine, masks: Tensor, tolerance: float) -> None:
    for draw in range(8):
        maps = torch.rand(4, *SIZE, generator=torch.Generator().manual_seed(draw))
        expected = [pointing(*pair, tolerance) for pair in zip(maps.numpy(), masks.numpy(), strict=True)]
        assert score(engine, maps, masks, f"pointing-game:tolerance={tolerance}").tolist() == expected


def test_pointing_game_at_the_edge_of_the_tolerance(engine: xai.Engine, masks: Tensor) -> None:
    """Three down and four across is five away, in the circle and not in a smaller one."""
    maps = torch.zeros(1, *SIZE)
    maps[0, 10, 26] = 1
    for tolerance, hit in ((4.9, 0), (5, 1)):
        assert score(engine, maps, masks[2:3], f"pointing-game:tolerance={tolerance}").item() == hit


def test_pointing_game_shares_a_tie(engine: xai.Engine, masks: Tensor) -> None:
    maps = torch.zeros(1, *SIZE)
    maps[0, 6, 9] = maps[0, 8, 10] = maps[0, 0, 0] = maps[0, 23, 31] = 2
    assert score(engine, maps, masks[:1], "pointing-game").item() == 0.5


def test_energy_is_the_share_of_the_values(engine: xai.Engine, masks: Tensor) -> None:
    maps = torch.randn(4, *SIZE)
    expected = [energy(*pair) for pair in zip(normalized(maps), masks.numpy(), strict=True)]
    torch.testing.assert_close(score(engine, maps, masks, "energy-pointing-game"), torch.tensor(expected).double())


def test_relevance_mass_is_the_share_of_what_is_positive(engine: xai.Engine, masks: Tensor) -> None:
    maps = torch.randn(4, *SIZE)
    expected = [energy(*pair) for pair in zip(maps.double().numpy().clip(0), masks.numpy(), strict=True)]
    torch.testing.assert_close(score(engine, maps, masks, "relevance-mass"), torch.tensor(expected).double())


def test_energy_and_relevance_mass_differ_below_zero_only(engine: xai.Engine, masks: Tensor) -> None:
    from_zero = torch.rand(4, *SIZE).masked_fill(torch.rand(4, *SIZE) < 0.1, 0)
    for maps, same in ((from_zero, True), (from_zero - 0.3, False), (from_zero + 0.3, False)):
        one, other = (score(engine, maps, masks[:3].repeat(2, 1, 1)[:4], name) for name in METRICS[1:3])
        assert torch.allclose(one, other, atol=1e-6) == same


def test_relevance_mass_resizes_what_the_method_gave(engine: xai.Engine) -> None:
    images, masks = torch.randn(2, 3, 32, 32), torch.rand(2, 32, 32) < 0.3
    maps = engine.explain(images, "cam")  # which is not rectified
    assert (maps["cam"].raw < 0).any()
    given = engine.evaluate(images, maps, "relevance-mass", masks)["cam"]["relevance-mass"].values
    shown = nn.functional.interpolate(maps["cam"].raw[:, None].double(), (32, 32), mode="bilinear")[:, 0]
    expected = [energy(*pair) for pair in zip(shown.numpy().clip(0), masks.numpy(), strict=True)]
    torch.testing.assert_close(given.double(), torch.tensor(expected).double(), atol=1e-6, rtol=1e-6)


def test_relevance_rank_of_different_values_is_by_order(engine: xai.Engine, masks: Tensor) -> None:
    maps = torch.randn(4, *SIZE)
    expected = []
    for values, mask in zip(maps.flatten(1).numpy(), masks.flatten(1).numpy(), strict=True):
        expected.append(mask[np.argsort(-values)[: mask.sum()]].mean())
    torch.testing.assert_close(score(engine, maps, masks, "relevance-rank"), torch.tensor(expected).double())


def test_relevance_rank_of_ties_is_the_mean_over_orders(engine: xai.Engine, masks: Tensor) -> None:
    maps = torch.rand(4, *SIZE).round(decimals=1)
    maps[1] = maps[1].round()
    for i, given in enumerate(score(engine, maps, masks, "relevance-rank").tolist()):
        expected = rank_of_random_orders(maps[i].numpy(), masks[i].numpy())
        assert given == pytest.approx(expected, abs=0.002 if i != 2 else 0.01)


@pytest.mark.parametrize("decimals", [6, 1, 0])
def test_iou_is_the_best_of_all_thresholds(engine: xai.Engine, masks: Tensor, decimals: int) -> None:
    maps = (torch.rand(4, *SIZE) + 0.4 * masks).round(decimals=decimals)
    expected = [best_of_all_thresholds(*pair) for pair in zip(maps.numpy(), masks.numpy(), strict=True)]
    torch.testing.assert_close(score(engine, maps, masks, "iou"), torch.tensor(expected).double(), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("metric", METRICS)
def test_the_best_and_the_worst_map(engine: xai.Engine, masks: Tensor, metric: str) -> None:
    some = masks[:3]
    assert score(engine, some.float(), some, metric).tolist() == [1, 1, 1]
    worst = score(engine, (~some).float(), some, metric)
    if metric == "iou":  # the threshold that takes all pixels is never worse than the mask's share
        torch.testing.assert_close(worst, some.double().mean((1, 2)))
    else:
        assert worst.tolist() == [0, 0, 0]
    between = score(engine, torch.rand(3, *SIZE), some, metric)
    assert ((worst <= between) & (between <= 1)).all()


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("pointing-game", 0),
        ("energy-pointing-game", 0),
        ("relevance-mass", None),
        ("relevance-rank", None),
        ("iou", None),
    ],
)
@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_a_constant_map(engine: xai.Engine, masks: Tensor, metric: str, expected: float | None) -> None:
    """It hits nothing and has no energy; where order or share counts, it scores as chance does: the mask's share."""
    given = score(engine, torch.full((4, *SIZE), 0.5), masks, metric)
    share = masks.double().mean((1, 2))
    torch.testing.assert_close(given, share if expected is None else torch.full_like(share, expected))
    assert not score(engine, torch.full((4, *SIZE), -0.5), masks, "relevance-mass").any()


@pytest.mark.parametrize("metric", METRICS)
def test_changes_of_the_map_that_keep_its_order(engine: xai.Engine, masks: Tensor, metric: str) -> None:
    """Metrics of order see none of them; none of the metrics sees the scale."""
    maps = torch.rand(4, *SIZE, dtype=torch.float64).float()
    torch.testing.assert_close(score(engine, 8 * maps, masks, metric), score(engine, maps, masks, metric))
    if metric in ("pointing-game", "relevance-rank", "iou"):
        torch.testing.assert_close(score(engine, maps.square(), masks, metric), score(engine, maps, masks, metric))


@pytest.mark.parametrize("metric", [*METRICS, "pointing-game:tolerance=3"])
def test_batch_mates_do_not_matter(engine: xai.Engine, masks: Tensor, metric: str) -> None:
    maps = torch.randn(4, *SIZE)
    maps[3] *= 1e6
    together = score(engine, maps, masks, metric)
    alone = torch.cat([score(engine, maps[i : i + 1], masks[i : i + 1], metric) for i in range(4)])
    torch.testing.assert_close(alone, together)


def test_all_targets_and_mirrors(engine: xai.Engine) -> None:
    """A mirrored map has the score of the mirrored mask."""
    images, masks = torch.randn(2, 3, 32, 32), torch.rand(2, 32, 32) < 0.3
    maps = engine.explain(images, "layer-cam", [[0, 1]] * 2)
    for metric, made in engine.evaluate(images, maps, METRICS, masks)["layer-cam"].items():
        assert made.values.shape == (2, 2)
        for target, one in enumerate(maps["layer-cam"].each):
            mirrored = score(engine, resize(one.raw, (32, 32)).flip(2), masks.flip(2), metric)
            torch.testing.assert_close(made.values[:, target].double(), mirrored, atol=1e-6, rtol=1e-5)


def test_the_truth_is_asked_for(engine: xai.Engine, images: Tensor) -> None:
    maps = engine.explain(images, "grad-cam")
    for metric in METRICS:
        assert xai.create_metric(metric).needs_ground_truth
        with pytest.raises(NoGroundTruthError, match="pass `masks=`"):
            engine.evaluate(images, maps, metric)


@pytest.mark.parametrize("tolerance", [-1, float("inf"), float("nan")])
def test_a_tolerance_that_is_none(tolerance: float) -> None:
    with pytest.raises(OptionError, match=r"tolerance must be a number in \[0, inf\)"):
        xai.create_metric("pointing-game", tolerance=tolerance)


def test_nothing_is_read_on_the_host_and_no_forward_is_run(images: Tensor) -> None:
    model = settled(SmallCNN())
    engine = xai.Engine(model)
    maps, masks = engine.explain(images, "grad-cam"), torch.rand(3, 32, 32) < 0.3
    forwards = itertools.count()
    handle = model.register_forward_hook(lambda *_: next(forwards) and None)
    with HostReads() as evaluating:
        engine.evaluate(images, maps, [*METRICS, "pointing-game:tolerance=15"], masks)
    handle.remove()
    assert len(evaluating.reads) <= 1, evaluating.reads
    assert next(forwards) == 0


def test_ranks_are_those_of_walks(engine: xai.Engine, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    """One order of the pixels serves them all, whatever the seed of what draws nothing."""
    ranked: list[Any] = []

    def counted(saliency: Tensor, *options: Any) -> Tensor:
        ranked.append(options)
        return ranks(saliency, *options)

    monkeypatch.setattr("xai_faithfulness.ranking.ranks", counted)
    maps, masks = {"mine": torch.rand(3, 32, 32)}, torch.rand(3, 32, 32) < 0.3
    shared = ["iou", "relevance-rank", "deletion:seed=3,steps=2", "insertion:steps=2", "road:seed=1,percentages=50"]
    engine.evaluate(images, maps, [*shared, "pixel-flipping:region=1,steps=2"], masks)
    assert len(ranked) == 1
    engine.evaluate(images, maps, [f"deletion:ties=random,seed={seed},steps=2" for seed in (0, 1)])
    engine.evaluate(images, maps, ["pixel-flipping:region=8,steps=2"])
    assert len(ranked) == 4
