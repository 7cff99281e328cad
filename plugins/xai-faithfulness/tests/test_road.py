"""ROAD against SciPy's sparse solution of the same system and a loop over images, percentages and pixels."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, settled
from support.observing import HostReads, given_to
from xai_core.errors import ConvergenceError, OptionError
from xai_faithfulness.imputation import impute

Array = NDArray[np.float64]


def solved(image: Tensor, missing: Tensor) -> Tensor:
    """The mean of its neighbors by weight for each missing pixel, as a sparse system; in float64."""
    values, gap = image.double().numpy().copy(), missing.numpy()
    y, x = np.nonzero(gap)
    number, equation = np.full(gap.shape, -1), np.arange(len(y))
    number[gap] = equation
    matrix, right = sparse.coo_matrix((len(y), len(y))).tocsr(), np.zeros((len(y), len(values)))
    for down, across in itertools.product((-1, 0, 1), repeat=2):
        inside = (y + down >= 0) & (y + down < gap.shape[0]) & (x + across >= 0) & (x + across < gap.shape[1])
        of, place = equation[inside], (y[inside] + down, x[inside] + across)
        weight, there = (1 / 12 if down and across else 1 / 6) * bool(down or across), gap[place]
        for columns, factor in ((of[there], weight), (number[place][there], -weight)):
            entries = np.full(len(columns), factor), (of[there], columns)
            matrix = matrix + sparse.coo_matrix(entries, matrix.shape)
        known = of[~there]
        matrix = matrix + sparse.coo_matrix((np.full(len(known), weight), (known, known)), matrix.shape)
        right[known] += weight * values[:, place[0][~there], place[1][~there]].T
    if len(y):
        # This order of a symmetric matrix leaves far fewer entries in the factors than the default does.
        symmetric = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
        values[:, gap] = sparse.linalg.splu(matrix.tocsc(), **symmetric).solve(right).T
    return torch.from_numpy(values)


def scene(height: int, width: int) -> Tensor:
    """A picture with structures of all sizes."""
    coarse = [nn.functional.interpolate(torch.randn(1, 3, n, n), (height, width), mode="bilinear") for n in (2, 5, 16)]
    return (sum(coarse) + 0.3 * torch.randn(1, 3, height, width))[0]


def holes(height: int, width: int) -> dict[str, Tensor]:
    """Random pixels, a disc, all but a disc, blobs, few known pixels, an edge, none."""
    y, x = torch.meshgrid(torch.arange(height) / height, torch.arange(width) / width, indexing="ij")
    away = (y - 0.45) ** 2 + (x - 0.5) ** 2
    smooth = nn.functional.interpolate(torch.randn(1, 1, 5, 5), (height, width), mode="bilinear")[0, 0]
    return {
        "random": torch.rand(height, width) < 0.5,
        "most at random": torch.rand(height, width) < 0.9,
        "disc": away < 0.15,
        "all but a disc": away > 0.02,
        "blobs": smooth > smooth.quantile(0.4),
        "blobs and pixels": smooth + torch.randn(height, width) > -1,
        "one known": (y + x) > 0,
        "a half": x < 0.5,
        "nothing": y < 0,
    }


@pytest.mark.parametrize("size", [(32, 32), (37, 24), (5, 60), (3, 3), (1, 7), (2, 2)], ids=str)
def test_imputation_is_the_solution_of_the_system(size: tuple[int, int]) -> None:
    image, masks = scene(*size), holes(*size)
    filled = impute(image.expand(len(masks), -1, -1, -1), torch.stack([*masks.values()]))
    for name, mask, given in zip(masks, masks.values(), filled, strict=True):
        if mask.all():
            assert not given.any()
            continue
        assert (given.double() - solved(image, mask)).abs().max() < 2e-5, name
        assert torch.equal(given[:, ~mask], image[:, ~mask])


@pytest.mark.parametrize("hole", ["most at random", "all but a disc"])
def test_imputation_at_full_size(hole: str) -> None:
    image, mask = scene(224, 224), holes(224, 224)[hole]
    given = impute(image[None], mask[None])[0].double()
    assert (given - solved(image, mask)).abs().max() < 1e-4


def test_an_image_of_which_nothing_is_known_is_zero() -> None:
    filled = impute(torch.randn(2, 3, 16, 16), torch.tensor([True, False])[:, None, None].expand(2, 16, 16))
    assert not filled[0].any()
    assert filled[1].any()


def test_an_even_image_is_filled_with_its_color() -> None:
    mask = torch.rand(1, 64, 64) < 0.95
    image = torch.tensor([1.5, -2.0, 40.0])[None, :, None, None].expand(1, 3, 64, 64)
    torch.testing.assert_close(impute(image, mask), image.contiguous())


def test_imputation_converges_in_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain conjugate gradients would take about as many steps as the hole is wide."""
    monkeypatch.setattr("xai_faithfulness.imputation.MAX_STEPS", 44)
    image = scene(224, 224)[:1]
    masks = torch.stack([holes(224, 224)[name] for name in ("disc", "all but a disc", "blobs and pixels")])
    assert impute(image.expand(len(masks), -1, -1, -1), masks).isfinite().all()
    monkeypatch.setattr("xai_faithfulness.imputation.MAX_STEPS", 2)
    with pytest.raises(ConvergenceError, match="did not converge in 2 steps"):
        impute(image[None], masks[:1])


@pytest.mark.parametrize("size", [(3, 300), (1, 900), (700, 4), (32, 1024)], ids=str)
def test_imputation_of_long_images_converges_in_few_steps_too(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("xai_faithfulness.imputation.MAX_STEPS", 48)
    image, masks = scene(*size), holes(*size)
    y, x = torch.meshgrid(*(torch.arange(length) for length in size), indexing="ij")
    masks["all but an end"] = x + y > 0.1 * max(size)
    for name in ("most at random", "all but a disc", "blobs", "a half", "all but an end"):
        given = impute(image[None], masks[name][None])[0].double()
        if masks[name].all():
            assert not given.any()
        else:
            assert (given - solved(image, masks[name])).abs().max() < 3e-4, name


def test_imputation_of_one_does_not_see_the_others() -> None:
    image, masks = scene(32, 32), torch.stack([*holes(32, 32).values()])
    other = scene(32, 32) * 1e3
    together = impute(torch.stack([image, other] * len(masks)), masks.repeat_interleave(2, 0))
    for i, mask in enumerate(masks):
        torch.testing.assert_close(impute(image[None], mask[None])[0], together[2 * i], atol=1e-6, rtol=0)


def test_half_precision_images() -> None:
    image, mask = scene(32, 32)[None].bfloat16(), torch.rand(1, 32, 32) < 0.7
    assert torch.equal(impute(image, mask), impute(image.float(), mask).bfloat16())


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(3)
    made = settled(SmallCNN())
    for parameter in list(made.parameters())[-2:]:
        parameter.data *= 4
    return made


@torch.no_grad()
def loop(model: nn.Module, image: Tensor, saliency: Tensor, order: str, percentages: Any, seed: int) -> list[float]:
    """ROAD of one image: exactly so many pixels, by value and then by index, each filled by the sparse solution."""
    model = model.double()
    target = model(image[None].double()).argmax().item()
    places = sorted(range(saliency.numel()), key=lambda place: (-saliency.flatten()[place].item(), place))
    noise = 0.01 * torch.randn(image.shape, generator=torch.Generator().manual_seed(seed)).double()
    scores = []
    for percentage in percentages:
        count = round(percentage / 100 * len(places))
        chosen = places[:count] if order == "morf" else places[len(places) - count :]
        missing = torch.zeros(saliency.numel(), dtype=torch.bool)
        missing[chosen] = True
        missing = missing.view_as(saliency)
        filled = torch.where(missing, solved(image, missing) + noise, image.double())
        scores.append(model(filled[None]).softmax(1)[0, target].item())
    model.float()
    return scores


@pytest.mark.parametrize("ties", [False, True])
def test_equals_the_loop(model: nn.Module, images: Tensor, ties: bool) -> None:
    engine, images = xai.Engine(model), images[:2]
    saliency = torch.rand(2, 32, 32).round(decimals=1 if ties else 6)
    metrics = [f"road:order={order},percentages=20+55+90,seed=5" for order in ("morf", "lerf", "combined")]
    morf, lerf, combined = engine.evaluate(images, {"m": saliency}, metrics)["m"].values()
    assert morf.curve is not None
    assert lerf.curve is not None
    assert morf.fractions is not None
    assert morf.fractions.tolist() == pytest.approx([0.2, 0.55, 0.9])
    for score, order in ((morf, "morf"), (lerf, "lerf")):
        expected = torch.tensor(
            [loop(model, *pair, order, (20, 55, 90), 5) for pair in zip(images, saliency, strict=True)]
        )
        torch.testing.assert_close(score.curve, expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(score.values, expected.mean(1), atol=1e-5, rtol=0)
    torch.testing.assert_close(combined.values, (lerf.values - morf.values) / 2)
    torch.testing.assert_close(combined.curve, (lerf.curve - morf.curve) / 2)
    assert (morf.higher_is_better, lerf.higher_is_better, combined.higher_is_better) == (False, True, True)


class Patch(nn.Module):
    """Looks at one patch only: the score of the first class is its contrast."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = nn.Conv2d(3, 3, 1, bias=False)
        nn.init.dirac_(self.seen.weight)

    def forward(self, x: Tensor) -> Tensor:
        patch = self.seen(x)[:, :, 8:16, 8:16]
        contrast = patch.var((1, 2, 3))
        return torch.stack([contrast, torch.zeros_like(contrast)], 1)


def test_the_best_and_the_worst_map(images: Tensor) -> None:
    engine = xai.Engine(Patch())
    best = torch.zeros(3, 32, 32)
    best[:, 8:16, 8:16] = 1
    best += 0.1 * torch.rand(3, 32, 32)
    maps = {"best": best, "random": torch.rand(3, 32, 32), "worst": -best}
    scores = {name: made["road"].values for name, made in engine.evaluate(images, maps, "road").items()}
    assert (scores["best"] > scores["random"] + 0.05).all()
    assert (scores["random"] > scores["worst"] + 0.05).all()
    torch.testing.assert_close(scores["best"], -scores["worst"], atol=1e-4, rtol=0)


def test_a_model_that_never_changes_has_zero(images: Tensor) -> None:
    class Constant(Patch):
        def forward(self, x: Tensor) -> Tensor:
            return 0 * super().forward(x) + torch.tensor([2.0, 1.0])

    scores = xai.Engine(Constant()).evaluate(images, {"m": torch.rand(3, 32, 32)}, "road")["m"]["road"]
    torch.testing.assert_close(scores.values, torch.zeros(3))


def test_exactly_so_many_pixels_go_in_spite_of_ties(images: Tensor) -> None:
    """Half of the map is alike, so that a threshold cannot take a tenth or four fifths."""

    class Changed(Patch):
        def forward(self, x: Tensor) -> Tensor:
            changed = (self.seen(x) != images[:1]).any(1).sum((1, 2)).to(x)
            counts.append(changed)
            return torch.stack([changed, changed], 1)

    counts: list[Tensor] = []
    saliency = (torch.rand(1, 32, 32) - 0.5).relu()
    engine = xai.Engine(Changed())
    for metric in ("road:order=morf", "road:order=lerf,ties=random"):
        engine.evaluate(images[:1], {"m": saliency}, metric)
        expected = [round(1024 * percent / 100) for percent in range(10, 100, 10)]
        assert torch.cat(counts)[-9:].tolist() == expected


@pytest.mark.parametrize("block", [2, 100])
def test_batch_mates_and_blocks_do_not_matter(model: nn.Module, images: Tensor, block: int) -> None:
    """Of three percentages, so that a block holds two images, or a part of one, or all."""
    metric, saliency = "road:order=morf,percentages=20+50+80", torch.rand(3, 32, 32)
    expected = xai.Engine(model, block=7).evaluate(images, {"m": saliency}, metric)["m"][metric].curve
    assert expected is not None
    engine = xai.Engine(model, block=block)
    torch.testing.assert_close(
        engine.evaluate(images, {"m": saliency}, metric)["m"][metric].curve, expected, atol=1e-5, rtol=0
    )
    alone = engine.evaluate(images[2:], {"m": saliency[2:]}, metric)["m"][metric].curve
    torch.testing.assert_close(alone, expected[2:], atol=1e-5, rtol=0)


def test_seeds_and_degenerate_maps(model: nn.Module, images: Tensor) -> None:
    engine, images, maps = xai.Engine(model), images[:1], {"m": torch.zeros(1, 32, 32)}
    protocols = ("seed=0", "seed=1", "ties=random", "ties=random,seed=1")
    metrics = [f"road:order=morf,percentages=50,{protocol}" for protocol in protocols]
    one, two = (engine.evaluate(images, maps, metrics)["m"] for _ in range(2))
    for metric in metrics:
        assert torch.equal(one[metric].values, two[metric].values)
    assert len({tuple(score.values.tolist()) for score in one.values()}) == 4


def test_both_orders_are_shared_and_blocks_bound_the_memory(model: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(model, block=2)
    engine.adapter(images)
    maps = {"m": torch.rand(3, 32, 32).to(images)}
    target = engine.explain(images, "grad-cam")["grad-cam"].target
    made = {"m": xai.Saliency.of(maps["m"], 3, (32, 32), target, "m")}
    with given_to(model) as batches:
        engine.evaluate(images, made, [f"road:order={of},percentages=20+50+80" for of in ("combined", "morf", "lerf")])
    sizes = [len(batch) for batch in batches]
    assert sum(sizes) == 3 * 2 * 3
    assert max(sizes) <= 2


def test_nothing_is_read_on_the_host(model: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(model)
    maps = engine.explain(images, "grad-cam")
    with HostReads() as evaluating:
        engine.evaluate(images, maps, "road:percentages=30+80")
    assert len(evaluating.reads) <= 1, evaluating.reads


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_one_synchronization_on_cuda(model: nn.Module, images: Tensor) -> None:
    engine, images = xai.Engine(model.cuda()), images.cuda()
    maps = engine.explain(images, "grad-cam")
    on_cuda = engine.evaluate(images, maps, "road")["grad-cam"]["road"].values
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchroniz") as evaluating:
            engine.evaluate(images, maps, "road")
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(evaluating) == 1
    values = {"m": maps["grad-cam"].values.cpu()}
    on_cpu = xai.Engine(model.cpu()).evaluate(images.cpu(), values, "road")["m"]["road"].values
    torch.testing.assert_close(on_cuda.cpu(), on_cpu, atol=1e-3, rtol=0)


@pytest.mark.parametrize("percentages", [0, 100.5, "20+x", "", (), (10, -1), "many", "20+40+20"])
def test_percentages_that_are_none(percentages: Any) -> None:
    with pytest.raises(OptionError, match=r"percentages must be distinct numbers in \(0, 100\]"):
        xai.create_metric("road", percentages=percentages)


@pytest.mark.parametrize("options", [{"order": "first"}, {"score": "prob"}, {"ties": "first"}])
def test_bad_options(options: dict[str, str]) -> None:
    with pytest.raises(OptionError, match=f"{next(iter(options))} must be"):
        xai.create_metric("road", **options)


def test_percentages_and_specs(model: nn.Module, images: Tensor) -> None:
    assert xai.create_metric("road").spec == "road"
    assert xai.create_metric("road", percentages=[80, 20]).spec == "road:percentages=80+20"
    one, two = (f"road:percentages={given}" for given in ("100", "100+50"))
    scores = xai.Engine(model).evaluate(images, {"m": torch.rand(3, 32, 32)}, [one, two])["m"]
    assert not scores[one].values.any()  # without any pixel both orders are the same
    assert scores[two].fractions is not None
    assert scores[two].fractions.tolist() == [0.5, 1]
