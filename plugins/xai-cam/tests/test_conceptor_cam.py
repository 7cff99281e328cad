"""Conceptor-CAM against the definition of conceptors and of their Boolean algebra, in K x K and float64."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.conceptors import and_not, conceptor, place_conceptor
from support.models import SmallCNN, fused_vit, settled
from support.observing import counted
from support.references import Reference, relative
from xai_cam.conceptors import filter_by_conceptors, filter_by_locations, largest_eigenvalue
from xai_core.errors import ConstantMapWarning, OptionError, TargetError
from xai_core.plugin import TargetLike

SHAPES = {"fewer channels": (6, 16), "fewer places": (12, 7), "as many": (8, 8)}


def random_channels(shape: tuple[int, int], count: int) -> Tensor:
    return torch.randn(count, 2, *shape, dtype=torch.float64) + 0.5


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize(("a", "b"), [(10, 3), (1, 1), (3, 30)])
@pytest.mark.parametrize("negatives", [1, 3])
@pytest.mark.parametrize("intra", [False, True])
def test_equals_the_definition(shape: tuple[int, int], a: float, b: float, negatives: int, intra: bool) -> None:
    x, *ys = random_channels(shape, 1 + negatives)
    ours = filter_by_conceptors(x, ys, a, b, intra)
    for i in range(2):
        theirs = [y[i].numpy() for y in ys]
        expected = and_not(x[i].numpy(), theirs, a, b) @ x[i].numpy()
        if intra:  # likewise between places
            expected = expected @ and_not(x[i].numpy().T, [y.T for y in theirs], a, b)
        assert relative(ours[i], torch.from_numpy(expected)) < 1e-7


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_eigenvalues_lie_between_zero_and_one(shape: tuple[int, int]) -> None:
    """Of C AND NOT B, which is what maps X; found from its effect on the left singular vectors of X."""
    x, *ys = random_channels(shape, 4)
    for a, b in ((10, 3), (1, 30), (30, 0)):
        effect = filter_by_conceptors(x, ys, a, b)
        operator = effect @ torch.linalg.pinv(x)
        torch.testing.assert_close(operator, operator.mT, atol=1e-8, rtol=0)
        values = torch.linalg.eigvalsh(operator)
        assert values.amin() > -1e-9
        assert values.amax() < 1 + 1e-9


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("intra", [False, True])
def test_symmetries(shape: tuple[int, int], intra: bool) -> None:
    """It scales with X, not with the negatives, and places and channels have no order."""
    x, *ys = random_channels(shape, 3)
    ours = filter_by_conceptors(x, ys, 10, 3, intra)
    for scale in (-3.0, 1e6, 1e-6):
        torch.testing.assert_close(filter_by_conceptors(scale * x, ys, 10, 3, intra), scale * ours)
        torch.testing.assert_close(filter_by_conceptors(x, [scale * y for y in ys], 10, 3, intra), ours)
    places, channels = torch.randperm(shape[1]), torch.randperm(shape[0])
    moved = [one[:, channels][:, :, places] for one in (x, *ys)]
    torch.testing.assert_close(filter_by_conceptors(moved[0], moved[1:], 10, 3, intra), ours[:, channels][:, :, places])
    torch.testing.assert_close(filter_by_conceptors(x, ys[::-1], 10, 3, intra), ours)
    torch.testing.assert_close(filter_by_conceptors(x, [*ys, *ys], 10, 3, intra), ours)  # the same twice is the same


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_nothing_is_kept_of_nothing_and_takes_nothing(shape: tuple[int, int]) -> None:
    x, y = random_channels(shape, 2)
    for intra in (False, True):
        assert not filter_by_conceptors(torch.zeros_like(x), [y], 10, 3, intra).any()
        alone = filter_by_conceptors(x, [], 10, 3, intra)
        torch.testing.assert_close(filter_by_conceptors(x, [torch.zeros_like(y)], 10, 3, intra), alone)
        torch.testing.assert_close(filter_by_conceptors(x, [y], 10, 0, intra), alone)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5)])
def test_the_largest_eigenvalue(shape: tuple[int, int]) -> None:
    """Also where the second is nearly as large."""
    x = random_channels(shape, 1)[0]
    left, values, right = torch.linalg.svd(x, full_matrices=False)
    values[:, 1] = values[:, 0] * (1 - 1e-7)
    x = (left * values[:, None]) @ right
    torch.testing.assert_close(largest_eigenvalue(x).flatten(), values[:, 0] ** 2, atol=0, rtol=1e-6)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("a", [0.3, 2, 30])
def test_places_equal_the_definition(shape: tuple[int, int], a: float) -> None:
    """X times the conceptor of the places: of the rows of the features minus their means. X has other channels."""
    features, x = random_channels(shape, 1)[0], random_channels((3, shape[1]), 1)[0]
    ours = filter_by_locations(x, features, a)
    for i in range(2):
        expected = x[i].numpy() @ place_conceptor(features[i].numpy(), a)
        assert relative(ours[i], torch.from_numpy(expected)) < 1e-10


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_symmetries_of_places(shape: tuple[int, int]) -> None:
    """It is linear in X; scale, offsets and order of the features do not matter; constant maps have no effect."""
    features, x = random_channels(shape, 2)
    ours = filter_by_locations(x, features, 2)
    offsets = torch.randn(2, shape[0], 1, dtype=torch.float64)
    channels, places = torch.randperm(shape[0]), torch.randperm(shape[1])
    for other in (-3 * features, 1e6 * features, features + offsets, features[:, channels]):
        torch.testing.assert_close(filter_by_locations(x, other, 2), ours)
    torch.testing.assert_close(filter_by_locations(3 * x + offsets, features, 2), 3 * ours)
    torch.testing.assert_close(filter_by_locations(x[:, :, places], features[:, :, places], 2), ours[:, :, places])
    torch.testing.assert_close(ours.sum(2), torch.zeros_like(ours[:, :, 0]))
    assert not filter_by_locations(x, torch.ones_like(features), 2).any()


# The explainer


def channels_of(reference: Reference, method: str, classes: list[int]) -> Tensor:
    """The weighted channels [B,K,N] of a base for classes, in float64."""
    activation, gradient = reference.activation, reference.gradient(classes)
    if method == "grad-cam++":
        total = activation.sum((2, 3), keepdim=True)
        alpha = (gradient**2 / (2 * gradient**2 + total * gradient**3)).nan_to_num()
        weights = (alpha * gradient.relu()).sum((2, 3))
    elif method == "grad-cam":
        weights = gradient.mean((2, 3))
    else:
        weights = torch.zeros(activation.shape[:2], dtype=torch.float64)
        for i, image in enumerate(reference.images):
            for k, channel in enumerate(activation[i]):
                if channel.max() > channel.min():
                    mask = nn.functional.interpolate(channel[None, None], (32, 32), mode="bilinear")[0, 0]
                    mask = (mask - mask.min()) / (mask.max() - mask.min())
                    weights[i, k] = reference.probability(image * mask, classes[i])
    return (weights[..., None, None] * activation).flatten(2)


CASES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "cnn": (SmallCNN, "last"),
    "cnn, a fine layer": (SmallCNN, "stem"),
    "vit": (fused_vit, "blocks.2.norm1"),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("base", ["grad-cam", "grad-cam++", "score-cam"])
@pytest.mark.parametrize("intra", [False, True])
def test_equals_its_replica(images: Tensor, case: str, base: str, intra: bool) -> None:
    """L = ReLU(1' (C+ AND NOT OR_j C_j) X), where the three next classes are the negatives."""
    make, layer = CASES[case]
    model = settled(make())
    reference = Reference(model, layer, images)
    ranked = reference.scores.argsort(1, descending=True)[:, :4].T.tolist()
    x, *ys = (channels_of(reference, base, classes).detach().numpy() for classes in ranked)
    expected = []
    for i in range(3):
        seen = and_not(x[i], [y[i] for y in ys], 10, 3) @ x[i]
        if intra:
            seen = seen @ and_not(x[i].T, [y[i].T for y in ys], 10, 3)
        expected.append(np.maximum(seen.sum(0), 0))
    apertures = {"aperture": 10.0, "negative_aperture": 3.0} if base == "score-cam" else {}
    explainer = xai.create_explainer("conceptor-cam", layer=layer, base=base, intra=intra, **apertures)
    ours = xai.Engine(model.double()).explain(images.double(), explainer)["conceptor-cam"]
    assert relative(ours.raw.flatten(1), torch.from_numpy(np.stack(expected))) < 1e-5


@pytest.mark.parametrize("spec", ["conceptor-cam:base=score-cam", "regulated(score-cam)"])
def test_the_default_apertures_of_score_cam(images: Tensor, spec: str) -> None:
    """C X with a = 1 and no negatives, also if only one of the factors is set."""
    model = settled(SmallCNN())
    reference = Reference(model, "last", images)
    x = channels_of(reference, "score-cam", reference.target).numpy()
    expected = np.stack([np.maximum((conceptor(each, 1) @ each).sum(0), 0) for each in x])
    separator = ":" if spec.endswith(")") else ","
    options = ["", f"{separator}aperture=1.0", f"{separator}negative_aperture=0.0", f"{separator}negatives=1"]
    maps = xai.Engine(model.double()).explain(images.double(), [spec + option for option in options])
    for ours in maps.values():
        assert relative(ours.raw.flatten(1), torch.from_numpy(expected)) < 1e-5


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("base", ["grad-cam", "grad-cam++", "score-cam"])
@pytest.mark.parametrize("aperture", [None, 0.7])
def test_places_equal_their_replica(images: Tensor, case: str, base: str, aperture: float | None) -> None:
    """L = ReLU(1'X D), where a is 2 unless set."""
    make, layer = CASES[case]
    model = settled(make())
    reference = Reference(model, layer, images)
    x = channels_of(reference, base, reference.target).detach().numpy()
    features = reference.activation.flatten(2).numpy()
    expected = [np.maximum(x[i].sum(0) @ place_conceptor(features[i], aperture or 2), 0) for i in range(3)]
    explainer = xai.create_explainer("conceptor-cam", layer=layer, base=base, relation="places", aperture=aperture)
    ours = xai.Engine(model.double()).explain(images.double(), explainer)["conceptor-cam"]
    assert relative(ours.raw.flatten(1), torch.from_numpy(np.stack(expected))) < 1e-5


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("base", ["grad-cam", "grad-cam++", "score-cam"])
@pytest.mark.parametrize("intra", [False, True])
def test_wide_open_it_is_its_base(images: Tensor, case: str, base: str, intra: bool) -> None:
    make, layer = CASES[case]
    engine = xai.Engine(settled(make()))
    wide = xai.create_explainer(
        "conceptor-cam", layer=layer, base=base, aperture=1e6, negative_aperture=0.0, intra=intra
    )
    maps = engine.explain(images, [wide, xai.create_explainer(base, layer=layer)])
    assert relative(maps["conceptor-cam"].raw, maps[base].raw) < 1e-4


class Channels(nn.Module):
    """Images as activations, pooled, and a linear head."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.layer, self.head = nn.Identity(), nn.Linear(weight.shape[1], len(weight), bias=False)
        self.head.weight = nn.Parameter(weight)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.layer(images).mean((2, 3)))


def two_objects() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """An activation of two objects that share channels, the head of their classes, and where the objects are."""
    generator = torch.Generator().manual_seed(0)
    target, distractor = torch.zeros(2, 8, 8, dtype=torch.bool)
    target[1:4, 1:4], distractor[5:7, 4:7] = True, True
    own, others, shared = range(8), range(8, 16), range(16, 24)
    activation = 0.05 * torch.rand(1, 24, 8, 8, generator=generator)
    activation[:, [*own, *shared]] += torch.rand(1, 16, 8, 8, generator=generator) * target
    activation[:, [*others, *shared]] += torch.rand(1, 16, 8, 8, generator=generator) * distractor
    weight = torch.zeros(2, 24)
    weight[0, [*own, *shared]], weight[1, [*others, *shared]] = 1.0, 1.0
    return activation, weight, target, distractor


def test_what_a_distractor_shares_is_taken_away_as_b_grows() -> None:
    activation, weight, target, distractor = two_objects()
    engine, shares = xai.Engine(Channels(weight)), []
    for b in (0.0, 1.0, 3.0, 10.0):
        explainer = xai.create_explainer("conceptor-cam", layer="layer", negative_aperture=b)
        (ours,) = engine.explain(activation, explainer, target=0)["conceptor-cam"].raw
        shares.append([(ours[place].sum() / ours.sum()).item() for place in (target, distractor)])
    (base,) = engine.explain(activation, "grad-cam:layer=layer", target=0)["grad-cam:layer=layer"].raw
    seen = [(base[place].sum() / base.sum()).item() for place in (target, distractor)]
    assert seen == pytest.approx([0.62, 0.22], abs=0.01)
    assert shares[2] == pytest.approx([0.74, 0.08], abs=0.01)  # a = 10, b = 3
    on_target, on_distractor = zip(*shares, strict=True)
    assert list(on_distractor) == sorted(on_distractor, reverse=True)
    assert list(on_target) == sorted(on_target)


@pytest.mark.parametrize("base", ["grad-cam", "grad-cam++", "score-cam"])
def test_the_map_scales_with_the_activation(images: Tensor, base: str) -> None:
    """Twice the activation and half the head give the same scores, and twice the map of half the weights."""
    activation, weight, _, _ = two_objects()
    explainer = xai.create_explainer("conceptor-cam", layer="layer", base=base)
    ours, other = (
        xai.Engine(Channels(weight / scale)).explain(scale * activation, explainer, target=0)["conceptor-cam"].raw
        for scale in (1, 4)
    )
    torch.testing.assert_close(other, (4 if base == "score-cam" else 1) * ours, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("spec", ["conceptor-cam", "conceptor-cam:relation=places", "conceptor-cam:negatives=2"])
def test_specs_of_objects(spec: str) -> None:
    assert xai.create_explainer(spec).spec == spec


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_one_pass_serves_all_classes(images: Tensor) -> None:
    for make in (SmallCNN, fused_vit):
        model = settled(make())
        engine = xai.Engine(model)
        engine.adapter(images)
        for base in ("grad-cam", "grad-cam++", "layer-cam"):
            with counted(model) as counts:
                engine.explain(images, xai.create_explainer("conceptor-cam", base=base))
            assert counts == {"forward": 1, "backward": 1}


def test_over_score_cam_no_more_images_are_scored(images: Tensor) -> None:
    model, seen = settled(SmallCNN()), []
    engine = xai.Engine(model)
    engine.adapter(images)
    handle = model.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    engine.explain(images, "score-cam")
    plain = seen.copy()
    seen.clear()
    engine.explain(images, "conceptor-cam:base=score-cam")
    handle.remove()
    assert seen == plain


@pytest.mark.parametrize("base", ["grad-cam", "grad-cam++", "score-cam", "ablation-cam"])
@pytest.mark.parametrize("relation", ["channels", "places"])
@pytest.mark.parametrize("target", [None, [[0, 1], [2, 3], [4, 0]]])
def test_no_activation_gives_an_empty_map(
    images: Tensor, base: str, relation: str, target: list[list[int]] | None
) -> None:
    model = settled(SmallCNN())
    with torch.no_grad():
        model.last[1].bias.fill_(-100)
    with pytest.warns(ConstantMapWarning, match="no evidence"):
        (ours,) = xai.Engine(model).explain(images, f"conceptor-cam:base={base},relation={relation}", target).values()
    assert ours.constant.all()
    assert not ours.raw.any()
    assert not ours.values.any()


def test_a_model_of_one_class_has_no_negatives(images: Tensor) -> None:
    engine = xai.Engine(settled(SmallCNN(classes=1)))
    maps = engine.explain(images, ["conceptor-cam", "conceptor-cam:negative_aperture=0.0", "conceptor-cam:negatives=0"])
    first, *others = maps.values()
    for other in others:
        torch.testing.assert_close(other.raw, first.raw)


@pytest.mark.parametrize("target", [lambda output: output[:, 1], xai.Contrast(1, 2)])
def test_a_target_that_is_no_class_has_no_negatives(images: Tensor, target: TargetLike) -> None:
    engine = xai.Engine(settled(SmallCNN()))
    first, second = engine.explain(images, ["conceptor-cam", "conceptor-cam:negatives=0"], target).values()
    torch.testing.assert_close(first.raw, second.raw)


def test_negatives_that_are_named(images: Tensor) -> None:
    engine = xai.Engine(settled(SmallCNN()))
    ranked = engine.model(images).argsort(1, descending=True)
    for i, (first, second, third) in enumerate(ranked[:, :3].tolist()):
        maps = engine.explain(
            images[i : i + 1],
            [
                "conceptor-cam:negatives=2",
                f"conceptor-cam:negatives={third}+{second}",
                f"conceptor-cam:negatives={second}+{third}+{second}+{third}",
                xai.create_explainer("conceptor-cam", negatives=[second, third]),
            ],
            target=first,
        )
        ours, *others = maps.values()
        for other in others:
            torch.testing.assert_close(other.raw, ours.raw, atol=1e-6, rtol=1e-4)


def test_the_target_is_no_negative_of_itself(images: Tensor) -> None:
    engine = xai.Engine(settled(SmallCNN()))
    with pytest.raises(TargetError, match=r"images \[0, 1, 2\].*also among their negatives"):
        engine.explain(images, "conceptor-cam:negatives=1+2", target=2)
    with pytest.raises(TargetError, match=r"images \[1\]"):
        engine.explain(images, "conceptor-cam:negatives=1+2", target=[3, 2, 4])
    with pytest.raises(TargetError, match="9 is not a class"):
        engine.explain(images, "conceptor-cam:negatives=1+9", target=2)


def test_several_targets_are_those_of_each(images: Tensor) -> None:
    engine, targets = xai.Engine(settled(SmallCNN())), torch.tensor([[0, 1], [4, 2], [3, 3]])
    for base in ("grad-cam", "score-cam"):
        explainer = xai.create_explainer("conceptor-cam", base=base)
        ours = engine.explain(images, explainer, targets)["conceptor-cam"]
        for t in range(2):
            expected = engine.explain(images, explainer, targets[:, t])["conceptor-cam"]
            torch.testing.assert_close(ours.raw[:, t], expected.raw, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"aperture": 0}, r"aperture must be a number in \(0, inf\)"),
        ({"negative_aperture": -1}, r"in \[0, inf\)"),
        ({"base": "full-grad"}, "weighted channels"),
        ({"base": "eigen-cam"}, "weighted channels"),
        ({"negatives": "cat"}, "ids such as 3"),
        ({"relation": "locations"}, "channels, places"),
        ({"relation": "places", "aperture": 0}, r"aperture must be a number in \(0, inf\)"),
        ({"relation": "places", "negative_aperture": 3.0}, "options of relation=channels"),
        ({"relation": "places", "negatives": 3}, "options of relation=channels"),
        ({"relation": "places", "intra": True}, "options of relation=channels"),
    ],
)
def test_bad_options(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        xai.create_explainer("conceptor-cam", **options)
