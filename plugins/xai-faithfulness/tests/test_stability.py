"""Infidelity and max-sensitivity against captum's, with the perturbations that were really made, and closed forms."""

from collections.abc import Iterator

import pytest
import torch
from captum.metrics import infidelity, sensitivity_max
from torch import Tensor, nn

import xai_core as xai
from support.explaining import maps_for
from support.models import Linear, SmallCNN, fused_vit, settled
from support.observing import given_to
from support.references import resized
from xai_core.errors import OptionError, UnsuitableError


@pytest.fixture
def cnn() -> nn.Module:
    return settled(SmallCNN())


def seen_by(
    model: nn.Module, engine: xai.Engine, images: Tensor, maps: dict[str, xai.Saliency], metric: str
) -> tuple[Tensor, list[Tensor]]:
    """The values, and the batches that the model was given."""
    with given_to(model) as batches:
        [[score]] = [one.values() for one in engine.evaluate(images, maps, metric).values()]
    return score.values, batches


@pytest.mark.parametrize("normalize", [True, False])
def test_infidelity_equals_captums(cnn: nn.Module, images: Tensor, normalize: bool) -> None:
    engine, classes = xai.Engine(cnn, block=1000), [1, 2, 4]
    maps = engine.explain(images, "hires-cam", classes)
    spec = f"infidelity:samples=25,region=9,normalize={normalize}".lower()
    values, seen = seen_by(cnn, engine, images, maps, spec)
    [perturbed] = [one for one in seen if len(one) == 3 * 25]
    removed = (perturbed != images.repeat_interleave(25, 0)).all(1)
    assert (removed.sum((1, 2)) == 81).all()
    assert ((removed.any(1).sum(1) == 9) & (removed.any(2).sum(1) == 9)).all()
    assert torch.equal(removed[:25], removed[25:50])
    raw = maps["hires-cam"].raw.double()
    relevance = resized(raw, (32, 32)) / 16  # 16 pixels to a place
    torch.testing.assert_close(relevance.sum((1, 2)), raw.sum((1, 2)))
    expected = infidelity(
        cnn.double(),
        lambda _: (removed[:, None].expand_as(perturbed).double(), perturbed.double()),
        images.double(),
        relevance[:, None].expand_as(images) / 3,  # captum sums over channels too
        target=classes,
        n_perturb_samples=25,
        normalize=normalize,
    )
    torch.testing.assert_close(values.double(), expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("normalize", ["true", "false"])
def test_infidelity_on_a_linear_model(normalize: str) -> None:
    """The exact contributions are perfect, a map that says nothing leaves the whole loss."""
    size = (8, 12)
    model, images = Linear(size), torch.randn(4, 3, *size)
    contribution = (images * model.weight[2]).sum(1).detach()
    engine = xai.Engine(model)
    maps = maps_for(2, engine, images, best=contribution, zero=torch.zeros(4, *size), worst=-contribution)
    maps |= maps_for(2, engine, images, twice=2 * contribution, random=torch.randn(4, *size))
    metric = f"infidelity:region=3,normalize={normalize}"
    values = {key: scores[metric].values for key, scores in engine.evaluate(images, maps, metric).items()}
    torch.testing.assert_close(values["best"], torch.zeros(4), atol=1e-6, rtol=0)
    if normalize == "true":
        for perfect in ("twice", "worst"):
            torch.testing.assert_close(values[perfect], torch.zeros(4), atol=1e-6, rtol=0)
        assert (values["random"] < values["zero"]).all()
    else:
        torch.testing.assert_close(values["twice"], values["zero"])  # off by the whole loss, above instead of below
        torch.testing.assert_close(values["worst"], 4 * values["zero"])
    assert (values["random"] > 0.1 * values["zero"]).all()


def test_infidelity_of_contributions_on_a_grid_is_zero() -> None:
    """Squares of 8 pixels have what the places of a layer under them have, where the map is even around them."""
    model, images = Linear((32, 32)), torch.ones(2, 3, 32, 32)
    model.weight.data[:] = 1
    engine = xai.Engine(model)
    [maps] = [maps_for(1, engine, images, grid=torch.full((2, 8, 8), 3 * 16.0) + 1e-3 * torch.randn(2, 8, 8))]
    values = engine.evaluate(images, maps, "infidelity:region=8,normalize=false")["grid"]
    assert (values["infidelity:region=8,normalize=false"].values < 1e-2).all()  # of a loss of 192, squared


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_infidelity_of_relevance_of_any_size(cnn: nn.Module, images: Tensor, scale: float) -> None:
    engine = xai.Engine(cnn)
    relevance = torch.randn(3, 32, 32)
    maps = maps_for(1, engine, images, one=relevance, scaled=relevance * scale)
    one, scaled = (scores["infidelity"].values for scores in engine.evaluate(images, maps, "infidelity").values())
    torch.testing.assert_close(scaled, one)


@pytest.mark.parametrize("method", ["grad-cam", "hires-cam", "rollout"])
def test_max_sensitivity_equals_captums(method: str, images: Tensor) -> None:
    model = settled(fused_vit() if method == "rollout" else SmallCNN())
    engine, classes = xai.Engine(model), [1, 2, 4]
    maps = engine.explain(images, method, classes)
    values, seen = seen_by(model, engine, images, maps, "max-sensitivity:radius=0.1,samples=6,seed=3")
    assert len(seen) == 6
    noises = [noisy - images for noisy in seen]
    for noise in noises:
        assert noise.abs().amax() <= 0.1 + 1e-6
        assert noise.std() == pytest.approx(0.1 / 3**0.5, rel=0.05)
        torch.testing.assert_close(noise[0], noise[1], atol=1e-6, rtol=0)
    left: Iterator[Tensor] = iter(seen)
    expected = sensitivity_max(
        lambda batch: (engine.explain(*batch, method, classes)[method].raw,),
        (images,),
        perturb_func=lambda _: (next(left),),
        n_perturb_samples=6,
        max_examples_per_batch=3,
    )
    torch.testing.assert_close(values, expected, atol=1e-6, rtol=1e-4)
    assert (values > 0).all()


class Answer(xai.Explainer):
    """The same factor times a function of the image."""

    name = "answer"
    targeted = False

    def __init__(self, factor: float = 1, follows: bool = True) -> None:
        self.factor, self.follows = factor, follows

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return xai.Needs()

    def explain(self, captured: xai.Captured) -> Tensor:
        images = captured.images.mean(1)
        return self.factor * (images if self.follows else torch.arange(32.0).expand_as(images))


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_max_sensitivity_is_a_share_of_the_map(cnn: nn.Module, images: Tensor) -> None:
    def score(of: Tensor, **options: float | bool) -> Tensor:
        engine = xai.Engine(cnn)
        return engine.evaluate(of, engine.explain(of, Answer(**options)), "max-sensitivity")["answer"][
            "max-sensitivity"
        ].values

    one = score(images)
    for factor in (1e-30, 1000, 1e30):
        torch.testing.assert_close(score(images, factor=factor), one)
    assert torch.equal(score(images, follows=False), torch.zeros(3))
    assert torch.equal(score(images, factor=0), torch.zeros(3))
    dark = torch.zeros_like(images)
    change = score(dark)  # the map is zero, and the change is that of the noise itself: a mean of three on each pixel
    torch.testing.assert_close(change, torch.full((3,), 0.02 / 3 * 32), atol=0, rtol=0.05)
    assert (score(images * 2) < one).all()


def test_maps_of_ones_own_cannot_be_explained_again(cnn: nn.Module, images: Tensor) -> None:
    with pytest.raises(UnsuitableError, match=r"Engine\.explain"):
        xai.Engine(cnn).evaluate(images, {"mine": images[:, 0]}, "max-sensitivity")


@pytest.mark.parametrize(
    "spec",
    [
        "infidelity:region=0",
        "infidelity:samples=0",
        "infidelity:score=prob",
        "infidelity:region=33",
        "max-sensitivity:radius=0",
        "max-sensitivity:radius=nan",
        "max-sensitivity:samples=0",
    ],
)
def test_options_that_make_no_sense(cnn: nn.Module, images: Tensor, spec: str) -> None:
    with pytest.raises(OptionError, match="must be"):
        xai.Engine(cnn).evaluate(images, {"m": images[:, 0]}, spec)
