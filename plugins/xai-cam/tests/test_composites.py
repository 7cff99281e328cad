"""Explainers made of explainers: what they average, and how they are written."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from support.observing import counted
from support.references import Reference, between_zero_and_one, relative, resized
from xai_core.errors import OptionError, SpecError, UnsuitableError
from xai_core.spec import parse, split

# Of maps of four by four places, some are constant by nature.
pytestmark = pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")


def explain(model: nn.Module, images: Tensor, method: str | xai.Explainer, target: Any = None) -> xai.Saliency:
    (saliency,) = xai.Engine(model).explain(images, method, target).values()
    return saliency


# Each against what it says, by hand


@pytest.mark.parametrize("base", ["grad-cam", "score-cam", "ablation-cam", "conceptor-cam", "eigen-cam"])
@pytest.mark.parametrize(
    ("options", "flips", "factors"),
    [
        ("", (False, True), (1, 0.9, 1.1)),
        (":brightness=0", (False, True), (1,)),
        (":flip=false,brightness=0.9", (False,), (1, 0.1, 1.9)),
    ],
)
def test_smoothed_is_the_mean_over_variants(
    images: Tensor, base: str, options: str, flips: tuple[bool, ...], factors: tuple[float, ...]
) -> None:
    """Each variant is explained for the class that is predicted of the image as given."""
    model = settled(SmallCNN())
    predicted = model(images).argmax(1)
    maps = []
    for flipped, factor in product(flips, factors):
        variant = factor * (images.flip(3) if flipped else images)
        one = explain(model, variant, base, predicted).raw
        maps.append(one.flip(2) if flipped else one)
    ours = explain(model, images, f"smoothed({base}){options}").raw
    torch.testing.assert_close(ours, torch.stack(maps).mean(0), atol=1e-6, rtol=1e-4)


def test_the_target_of_a_variant_is_not_what_it_is_predicted_as(images: Tensor) -> None:
    """Nearly black, all images are the same class; they are explained for their own all the same."""
    model = settled(SmallCNN())
    with torch.no_grad():
        model.head.bias -= model(images).mean(0)
    assert (model(0.1 * images).argmax(1) != model(images).argmax(1)).any()
    ours = explain(model, images, "smoothed(grad-cam):flip=false,brightness=0.9").raw
    without = torch.stack([explain(model, factor * images, "grad-cam").raw for factor in (1, 0.1, 1.9)]).mean(0)
    assert not torch.allclose(ours, without, atol=1e-3)


def test_smoothed_of_nothing_is_the_explainer(images: Tensor) -> None:
    model = settled(fused_vit())
    ours = explain(model, images, "smoothed(grad-cam):flip=false,brightness=0").raw
    torch.testing.assert_close(ours, explain(model, images, "grad-cam").raw)


@pytest.mark.parametrize("base", ["grad-cam", "grad-cam++", "ss-cam:n=2", "finer-cam"])
def test_noise_smoothed_is_the_mean_over_noise(images: Tensor, base: str) -> None:
    model = settled(SmallCNN())
    predicted = model(images).argmax(1)
    generator = torch.Generator().manual_seed(3)
    total = torch.zeros(3, 8, 8)
    for _ in range(4):
        noise = torch.randn(3, 32, 32, generator=generator)
        noisy = torch.stack([image + 0.2 * (image.max() - image.min()) * noise for image in images])
        total += explain(model, noisy, base, predicted).raw
    ours = explain(model, images, f"noise-smoothed({base}):n=4,sigma=0.2,seed=3").raw
    torch.testing.assert_close(ours, total / 4, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("statistic", ["square", "variance"])
def test_noise_smoothed_is_a_statistic_of_numpy(images: Tensor, statistic: str) -> None:
    model, noisy = settled(SmallCNN()), "noise-smoothed(grad-cam):n={},sigma=0.2"
    sums = [n * explain(model, images, noisy.format(n), 1).raw.double().numpy() for n in range(1, 6)]
    maps = np.diff(np.stack([np.zeros_like(sums[0]), *sums]), axis=0)  # the map of each noisy image
    expected = (maps**2).mean(0) if statistic == "square" else maps.var(0)
    ours = explain(model, images, f"{noisy.format(5)},statistic={statistic}", 1).raw
    torch.testing.assert_close(ours.double(), torch.from_numpy(expected), atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("n", [1, 3])
def test_without_noise_it_is_the_explainer(images: Tensor, n: int) -> None:
    model = settled(fused_vit())
    ours = explain(model, images, f"noise-smoothed(grad-cam):n={n},sigma=0").raw
    torch.testing.assert_close(ours, explain(model, images, "grad-cam").raw)


def test_noise_is_seeded_and_the_same_for_every_image(images: Tensor) -> None:
    model = settled(SmallCNN())
    first, again, other = (explain(model, images, f"noise-smoothed:n=2,seed={seed}").raw for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)
    torch.testing.assert_close(explain(model, images[1:2], "noise-smoothed:n=2").raw, first[1:2])


@pytest.mark.parametrize("base", ["grad-cam", "layer-cam", "hires-cam", "score-cam"])
@pytest.mark.parametrize(
    ("make", "layer"), [(SmallCNN, "last"), (SmallCNN, "stem"), (fused_vit, "blocks.2.norm1")],
    ids=["cnn", "cnn, a fine layer", "vit"],
)  # fmt: skip
def test_eigen_smoothed_is_numpys_first_component(images: Tensor, make: Any, layer: str, base: str) -> None:
    """The channels at each place, each without its mean, projected on their first right singular vector."""
    model = settled(make())
    reference = Reference(model, layer, images)
    activation, gradient = reference.activation, reference.gradient(reference.target)
    match base:
        case "grad-cam":
            channels = gradient.mean((2, 3), keepdim=True) * activation
        case "layer-cam":
            channels = gradient.relu() * activation
        case "hires-cam":
            channels = gradient * activation
        case _:
            large = [resized(one, (32, 32)) for one in activation]
            weights = torch.zeros(activation.shape[:2], dtype=torch.float64)
            for i, k in product(*map(range, weights.shape)):
                mask, image = large[i][k], reference.images[i]
                if mask.max() > mask.min():
                    mask = (mask - mask.min()) / (mask.max() - mask.min())
                    weights[i, k] = reference.probability(image * mask, reference.target[i])
            channels = weights[..., None, None] * activation
    expected = []
    for one in channels.detach().flatten(2).mT.numpy():
        centered = one - one.mean(0)
        component = centered @ np.linalg.svd(centered)[2][0]
        component *= np.sign(component @ one.sum(1))
        expected.append(torch.from_numpy(component).clamp_min(0).unflatten(0, channels.shape[2:]))
    ours = explain(model.double(), images.double(), f"eigen-smoothed({base}:layer={layer})").raw
    assert relative(ours, torch.stack(expected)) < 1e-5


@pytest.mark.parametrize("how", ["mean", "max", "prod"])
def test_fused_is_made_of_normalized_maps_at_the_finest_grid(images: Tensor, how: str) -> None:
    model = settled(SmallCNN())
    fine, coarse = explain(model, images, "layer-cam:layer=stem").raw, explain(model, images, "grad-cam").raw
    stacked = torch.stack([between_zero_and_one(fine), resized(between_zero_and_one(coarse), (16, 16))])
    expected = torch.from_numpy(getattr(np, how)(stacked.numpy(), axis=0))
    how = "product" if how == "prod" else how
    ours = explain(model, images, f"fused(layer-cam:layer=stem,grad-cam):how={how}").raw
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(explain(model, images, f"fused(grad-cam,layer-cam:layer=stem):how={how}").raw, expected)


def test_fused_of_one_is_the_explainer(images: Tensor) -> None:
    model = settled(SmallCNN())
    torch.testing.assert_close(explain(model, images, "fused(grad-cam)").raw, explain(model, images, "grad-cam").raw)


def test_fused_takes_one_pass(images: Tensor) -> None:
    for make, other in ((SmallCNN, "eigen-cam"), (fused_vit, "rollout")):
        model = settled(make())
        engine = xai.Engine(model)
        engine.adapter(images)
        with counted(model) as counts:
            engine.explain(images, f"fused(grad-cam,layer-cam,{other}):how=max")
        assert counts == {"forward": 1, "backward": 1}


@pytest.mark.parametrize(
    ("method", "forwards"),
    [("smoothed(grad-cam)", 6), ("smoothed(grad-cam):flip=false", 3), ("noise-smoothed(grad-cam):n=4", 5)],
)
def test_how_many_forwards_they_take(images: Tensor, method: str, forwards: int) -> None:
    model = settled(SmallCNN())
    engine = xai.Engine(model)
    adapter = engine.adapter(images)
    with counted(model) as counts:
        engine.explain(images, method)
    assert counts["forward"] == forwards == xai.create_explainer(method).forward_passes(adapter)


# Of one another, and of several targets


NESTED = [
    "smoothed(noise-smoothed(grad-cam):n=2):flip=true,brightness=0",
    "noise-smoothed(smoothed(grad-cam):brightness=0):n=2",
    "fused(smoothed(grad-cam),eigen-smoothed(layer-cam),conceptor-cam)",
    "smoothed(fused(grad-cam,eigen-cam):how=max)",
    "noise-smoothed(finer-cam):n=2",
    "smoothed(ablation-cam)",
    "noise-smoothed(score-cam):n=2",
    "smoothed(shapley-cam)",
    "eigen-smoothed(conceptor-cam)",
    "regulated(score-cam:score=logit):negatives=2",
    "smoothed(regulated(layer-cam):relation=places)",
]


COMPOSITES = ["smoothed", "noise-smoothed", "eigen-smoothed", "fused", "regulated"]


@pytest.mark.parametrize(
    ("make", "method"),
    [*((SmallCNN, method) for method in (*NESTED, *COMPOSITES)), *((fused_vit, method) for method in COMPOSITES)],
)
def test_several_targets_are_those_of_each(images: Tensor, make: Any, method: str) -> None:
    model, targets = settled(make()).double(), torch.tensor([[0, 1], [4, 2]])
    images = images[:2].double()
    engine = xai.Engine(model)
    ours = engine.explain(images, method, targets)[method]
    assert ours.values.shape == (2, 2, 32, 32)
    for t in range(2):
        torch.testing.assert_close(ours.raw[:, t], engine.explain(images, method, targets[:, t])[method].raw)


def test_nested_by_hand(images: Tensor) -> None:
    model = settled(SmallCNN())
    target = model(images).argmax(1)
    inner = "noise-smoothed(grad-cam):n=2"
    plain, flipped = (explain(model, given, inner, target).raw for given in (images, images.flip(3)))
    ours = explain(model, images, f"smoothed({inner}):brightness=0").raw
    torch.testing.assert_close(ours, (plain + flipped.flip(2)) / 2, atol=1e-6, rtol=1e-4)


def test_they_are_made_of_objects_too(images: Tensor) -> None:
    model = settled(SmallCNN())
    base = xai.create_explainer("grad-cam", layer="stem")
    for by_object, spec in (
        (xai.create_explainer("smoothed", explainer=base, flip=False), "smoothed(grad-cam:layer=stem):flip=false"),
        (xai.create_explainer("noise-smoothed", explainer=base, n=2), "noise-smoothed(grad-cam:layer=stem):n=2"),
        (xai.create_explainer("eigen-smoothed", explainer=base), "eigen-smoothed(grad-cam:layer=stem)"),
        (xai.create_explainer("fused", explainers=[base, "eigen-cam"]), "fused(grad-cam:layer=stem,eigen-cam)"),
    ):
        assert by_object.spec == spec
        torch.testing.assert_close(explain(model, images, by_object).raw, explain(model, images, spec).raw)


# How they are written


@pytest.mark.parametrize(
    "spec",
    [
        "smoothed(grad-cam:layer=last):flip=false,brightness=0.2",
        "fused(grad-cam,layer-cam:layer=stem+last):how=max",
        "smoothed(noise-smoothed(grad-cam))",
        "fused(smoothed(score-cam:score=logit,channel_softmax=true),grad-cam)",
        *(name for name in NESTED if "flip=true" not in name),
    ],
)
def test_specs_are_read_and_written(spec: str) -> None:
    assert str(parse(spec)) == spec
    assert xai.create_explainer(spec).spec == spec
    assert split(f"rollout,{spec},grad-cam") == ["rollout", spec, "grad-cam"]
    assert split(spec) == [spec]


def test_an_option_after_a_parenthesis_belongs_to_the_whole() -> None:
    assert split("smoothed(grad-cam),flip=false") == ["smoothed(grad-cam):flip=false"]
    assert split("smoothed(grad-cam:layer=last),flip=false,fused(a,b:x=1),how=max") == [
        "smoothed(grad-cam:layer=last):flip=false",
        "fused(a,b:x=1):how=max",
    ]


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ("smoothed(grad-cam,layer-cam)", SpecError, "exactly one explainer, got 2: grad-cam, layer-cam"),
        ("smoothed(grad-cam", SpecError, "parenthesis is not closed"),
        ("smoothed(fused(grad-cam,eigen-cam)", SpecError, "parenthesis is not closed"),
        ("smoothed(grad-cam))", SpecError, "after the parenthesis"),
        ("smoothed(grad-cam)flip=false", SpecError, "after the parenthesis"),
        ("grad-cam(layer-cam)", SpecError, "is not a composite explainer"),
        ("smoothed(grad-camm)", Exception, "grad-cam"),
        ("smoothed:brightness=1", OptionError, "brightness"),
        ("noise-smoothed:n=0", OptionError, "at least 1"),
        ("noise-smoothed:sigma=-1", OptionError, r"in \[0, inf\)"),
        ("fused:how=median", OptionError, "mean, max"),
        ("regulated(grad-cam,layer-cam)", SpecError, "exactly one explainer"),
        ("eigen-smoothed(full-grad)", OptionError, "weighted channels"),
        ("eigen-smoothed(eigen-cam)", OptionError, "weighted channels"),
    ],
)
def test_what_cannot_be_made(spec: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        xai.create_explainer(spec)


@pytest.mark.parametrize("composed", ["smoothed", "noise-smoothed", "fused"])
def test_they_suit_what_they_are_made_of(images: Tensor, composed: str) -> None:
    with pytest.raises(UnsuitableError, match="use grad-cam"):
        explain(settled(fused_vit()), images, f"{composed}(full-grad)")
