"""Several inputs: one map for each image, from the calls of the layers that are made from this image."""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xai_core as xai
from support.models import GatedCNN, SmallCNN, fused_vit
from support.siamese import Joined, RightFirst, Siamese, Stacked, Twins, WithTable, pair
from xai_core.errors import ConstantMapWarning, InputShapeError, InputTypeError, LayerError

LEFT, RIGHT = torch.randn(2, 3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
TABLE = torch.tensor([[1.0, -2.0, 0.5], [0.3, 1.0, -1.0], [2.0, 0.1, 0.4]])
METHODS = {
    GatedCNN: [
        "grad-cam", "score-cam", "ablation-cam", "full-grad", "saliency", "integrated-gradients:n_steps=2",
        "layer-conductance:n_steps=2", "guided-backprop", "occlusion:size=16,stride=16", "rise:masks=8",
        "spatial-attention", "channel-attention", "smoothed(grad-cam)",
    ],
    fused_vit: [
        "grad-cam", "rollout", "generic-attention", "grad-eclip", "ablation-cam", "raw-attention", "legrad",
        "tis:masks=8,iterations=2",
    ],
}  # fmt: skip


@pytest.fixture(scope="module", params=[(make, kind) for make in METHODS for kind in (Siamese, RightFirst)])
def case(request: pytest.FixtureRequest) -> tuple[Any, xai.Engine, list[str]]:
    make, kind = request.param
    torch.manual_seed(0)
    model = pair(kind, make())
    return model, xai.Engine(model), METHODS[make]


def fixed(model: nn.Module, side: int) -> xai.Engine:
    """An engine of one input, with the other in the user's function."""
    if side == 0:
        return xai.Engine(model, forward=lambda model, images, of: model(images, RIGHT[of]))
    return xai.Engine(model, forward=lambda model, images, of: model(LEFT[of], images))


def test_maps_are_those_of_separate_encoders(case: tuple[Any, xai.Engine, list[str]]) -> None:
    model, engine, methods = case
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantMapWarning)
        both = engine.explain((LEFT, RIGHT), methods, 1)
        assert len(both) == 2
        for side, maps in enumerate(both):
            expected = fixed(Twins(model), side).explain((LEFT, RIGHT)[side], methods, 1)
            for method in methods:
                theirs = expected[method].raw
                torch.testing.assert_close(maps[method].raw, theirs, rtol=1e-3, atol=1e-5, msg=f"{method} {side}")


@pytest.mark.parametrize("kind", [Siamese, RightFirst])
def test_grad_cam_is_that_of_plain_autograd(kind: type[Siamese]) -> None:
    model: Any = pair(kind, SmallCNN())
    both = xai.Engine(model).explain((LEFT, RIGHT), "grad-cam:layer=encoder.last", 2)
    reference = copy.deepcopy(model).double()
    for side, maps in enumerate(both):
        own, other = (LEFT, RIGHT)[side].double(), (RIGHT, LEFT)[side].double()
        encoder = reference.encoder
        features = encoder.last(encoder.gated(residual(encoder, own))).detach().requires_grad_()
        code = encoder.head(F.relu(encoder.pool(features)).flatten(1))
        fixed_code = encoder(other).detach()
        score = reference.compare(*((code, fixed_code) if side == 0 else (fixed_code, code)))[:, 2].sum()
        (gradient,) = torch.autograd.grad(score, features)
        expected = (gradient.mean((2, 3), keepdim=True) * features).sum(1).relu().detach()
        ours = maps["grad-cam:layer=encoder.last"].raw
        torch.testing.assert_close(ours.double(), expected, rtol=1e-3, atol=1e-5)


def residual(encoder: Any, images: Tensor) -> Tensor:
    stem = encoder.stem(images)
    return encoder.body(stem) + stem


def test_ablation_replaces_features_of_one_image() -> None:
    """The first channel of one image is replaced by zero, with a hook on the call of the encoder for this image."""
    model: Any = pair(Siamese, SmallCNN())
    layer, calls = model.encoder.last, {0: 0, 1: 1}
    for side, maps in enumerate(xai.Engine(model).explain((LEFT, RIGHT), "ablation-cam", 1)):
        seen: list[Tensor] = []
        drops = []
        with torch.no_grad():
            handle = layer.register_forward_hook(lambda _, __, output, seen=seen: seen.append(output.clone()))
            score = model(LEFT, RIGHT)[:, 1]
            handle.remove()
            features = seen[calls[side]]
            for channel in range(features.shape[1]):
                count = iter(range(2))

                def ablate(_: Any, __: Any, output: Tensor, c: int = channel, n: Any = count, s: int = side) -> Tensor:
                    if next(n) != calls[s]:
                        return output
                    replaced = output.clone()
                    replaced[:, c] = 0
                    return replaced

                handle = layer.register_forward_hook(ablate)
                drops.append((score - model(LEFT, RIGHT)[:, 1]) / score.abs())
                handle.remove()
        weights = torch.stack(drops, 1)
        expected = (weights[:, :, None, None] * features).sum(1).relu()
        torch.testing.assert_close(maps["ablation-cam"].raw, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [Siamese, RightFirst])
def test_attention_and_adapters_of_each_image(kind: type[Siamese]) -> None:
    """They are those of the encoder alone, whose layers have no prefix."""
    model: Any = pair(kind, fused_vit())
    engine, alone = xai.Engine(model), xai.Engine(model.encoder)
    records, adapters = engine.attention((LEFT, RIGHT), rows=0), engine.adapter((LEFT, RIGHT), 1)
    assert len(records) == len(adapters) == 2
    for image, record, adapter in zip((LEFT, RIGHT), records, adapters, strict=True):
        expected = alone.attention(image, rows=0)
        assert len(record.layers) == len(expected.layers) == 3
        for ours, theirs in zip(record.weights, expected.weights, strict=True):
            torch.testing.assert_close(ours, theirs)
        assert adapter.default_layer.partition("@")[0] == f"encoder.{alone.adapter(image).default_layer}"
        assert adapter.grid == (4, 4)


METRICS = ["deletion:steps=3", "insertion:steps=3", "max-sensitivity:samples=2", "parameter-randomization:layers=1"]


def test_metrics_perturb_one_image_and_keep_the_other() -> None:
    model = pair(Siamese, SmallCNN())
    engine = xai.Engine(model)
    maps = engine.explain((LEFT, RIGHT), "saliency", 1)
    scores = engine.evaluate((LEFT, RIGHT), maps, METRICS)
    for side in range(2):
        image, own = (LEFT, RIGHT)[side], fixed(model, side)
        expected = own.evaluate(image, own.explain(image, "saliency", 1), METRICS)
        for metric in METRICS:
            torch.testing.assert_close(scores[side]["saliency"][metric].values, expected["saliency"][metric].values)


def test_masks_of_each_image() -> None:
    engine = xai.Engine(pair(Siamese, SmallCNN()))
    masks = tuple(torch.zeros(2, 3, 32, 32, dtype=torch.bool))
    masks[0][:, :8], masks[1][:, 8:] = True, True
    relevance = torch.zeros(3, 32, 32)
    relevance[:, :8] = 1
    left, right = engine.evaluate((LEFT, RIGHT), (relevance, relevance), "relevance-mass", masks)
    assert (left["relevance-mass"].values.tolist(), right["relevance-mass"].values.tolist()) == ([1] * 3, [0] * 3)


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_other_batches_of_the_same_sizes_are_explained_for_their_own_images() -> None:
    engine = xai.Engine(pair(Siamese, SmallCNN()))
    engine.explain((RIGHT, LEFT), "grad-cam", 1)
    again = engine.explain((LEFT[:2], RIGHT[:2]), ["grad-cam", "occlusion:size=16,stride=16"], 1)
    fresh = xai.Engine(engine.model).explain((LEFT[:2], RIGHT[:2]), ["grad-cam", "occlusion:size=16,stride=16"], 1)
    for ours, expected in zip(again, fresh, strict=True):
        for name in ours:
            torch.testing.assert_close(ours[name].raw, expected[name].raw)


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_images_of_different_sizes() -> None:
    model = pair(Siamese, SmallCNN())
    small = RIGHT[:, :, :16, :24]
    left, right = xai.Engine(model).explain((LEFT, small), "grad-cam", 1)
    assert left["grad-cam"].values.shape == (3, 32, 32)
    assert right["grad-cam"].values.shape == (3, 16, 24)
    expected = xai.Engine(model, forward=lambda model, images, of: model(images, small[of])).explain(
        LEFT, "grad-cam", 1
    )
    torch.testing.assert_close(left["grad-cam"].raw, expected["grad-cam"].raw)


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
def test_channels_of_one_image() -> None:
    model: Any = pair(Stacked, SmallCNN())
    both = xai.Engine(model).explain((LEFT, RIGHT), ["saliency:channels=max", "grad-cam:layer=encoder.last"], 1)
    images = [LEFT.clone().requires_grad_(), RIGHT.clone().requires_grad_()]
    for maps, gradient in zip(both, torch.autograd.grad(model(*images)[:, 1].sum(), images), strict=True):
        torch.testing.assert_close(maps["saliency:channels=max"].raw, gradient.abs().amax(1))
    name = "grad-cam:layer=encoder.last"  # features of both images
    torch.testing.assert_close(both[0][name].raw, both[1][name].raw)


@pytest.mark.parametrize("table", [TABLE, TABLE.double(), TABLE.round().long()], ids=["float32", "float64", "int64"])
def test_a_table_stays_fixed(table: Tensor) -> None:
    model = pair(WithTable, SmallCNN())
    [maps] = xai.Engine(model).explain((LEFT, table), ["grad-cam", "occlusion:size=16,stride=16"], 1)
    rows = table.float() if table.is_floating_point() else table
    own = xai.Engine(model, forward=lambda model, images, of: model(images, rows[of]))
    for name, expected in own.explain(LEFT, ["grad-cam", "occlusion:size=16,stride=16"], 1).items():
        torch.testing.assert_close(maps[name].raw, expected.raw)
    assert torch.equal(own.predict(LEFT).ids, xai.Engine(model).predict((LEFT, table)).ids)  # type: ignore[arg-type]


def test_the_users_function_receives_all_inputs() -> None:
    model = pair(Stacked, SmallCNN())

    def views(model: Any, images: tuple[Tensor, ...]) -> Any:
        return {"scores": model.encoder(torch.stack(images, 1).amax(1)), "other": images[0].mean((2, 3))}

    maps = xai.Engine(model, forward=views, output="scores").explain(
        (LEFT, RIGHT, LEFT.flip(0)), "saliency:channels=max", 1
    )
    images = [value.clone().requires_grad_() for value in (LEFT, RIGHT, LEFT.flip(0))]
    gradients = torch.autograd.grad(views(model, tuple(images))["scores"][:, 1].sum(), images)
    for ours, gradient in zip(maps, gradients, strict=True):
        torch.testing.assert_close(ours["saliency:channels=max"].raw, gradient.abs().amax(1))


def test_a_batch_of_both_images() -> None:
    """Methods of pixels work. A layer has twice as many rows as there are images, and is refused."""
    model = pair(Joined, SmallCNN())
    engine, apart = xai.Engine(model), pair(Siamese, SmallCNN())
    apart.load_state_dict(model.state_dict())
    methods = ["saliency", "occlusion:size=16,stride=16"]
    for ours, expected in zip(
        engine.explain((LEFT, RIGHT), methods, 1), xai.Engine(apart).explain((LEFT, RIGHT), methods, 1), strict=True
    ):
        for name in methods:
            torch.testing.assert_close(ours[name].raw, expected[name].raw, rtol=1e-3, atol=1e-5)
    with pytest.raises(LayerError, match="use a method without layers, such as rise, occlusion or saliency"):
        engine.explain((LEFT, RIGHT), "grad-cam", 1)


REFUSED: dict[str, tuple[Callable[[xai.Engine], Any], type[Exception], str]] = {
    "rows": (lambda e: e.explain((LEFT, RIGHT[:2]), "grad-cam"), InputShapeError, r"same number of rows.*\[3, 2\]"),
    "text": (lambda e: e.explain((LEFT, "text"), "grad-cam"), InputTypeError, "tuple of tensors.*got str"),  # type: ignore[arg-type]
    "dict": (lambda e: e.explain((LEFT, {"a": RIGHT}), "grad-cam"), InputTypeError, "one by one"),  # type: ignore[arg-type]
    "images of a batch": (lambda e: e.explain(tuple(LEFT), "grad-cam"), InputTypeError, r"torch\.stack\(images\)"),
    "list": (lambda e: e.explain([LEFT, RIGHT], "grad-cam"), InputTypeError, "a tuple for several inputs"),  # type: ignore[call-overload]
    "one tensor": (lambda e: e.explain(LEFT, "grad-cam"), InputTypeError, r"takes others .*right.*pass a tuple"),
    "one map": (
        lambda e: e.evaluate((LEFT, RIGHT), torch.rand(3, 8, 8), "deletion"),  # type: ignore[call-overload]
        InputTypeError, "2 image inputs, so maps must be a tuple.*got Tensor",
    ),
    "three maps": (
        lambda e: e.evaluate((LEFT, RIGHT), (torch.rand(3, 8, 8),) * 3, "deletion"), InputTypeError, "a tuple of 3",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_inputs_that_are_refused(name: str) -> None:
    call, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        call(xai.Engine(pair(Siamese, SmallCNN())))


def test_models_of_one_input() -> None:
    with pytest.raises(InputTypeError, match=r"a tuple of 2 inputs was passed, and SmallCNN takes others.*torch\.cat"):
        xai.Engine(SmallCNN()).explain((LEFT, RIGHT), "grad-cam")


def test_slices_are_explained_again_with_the_other_inputs_of_the_same_images() -> None:
    torch.manual_seed(0)
    engine = xai.Engine(pair(Siamese, SmallCNN()))
    for maps, images in zip(engine.explain((LEFT, RIGHT), "saliency", 1), (LEFT, RIGHT), strict=True):
        saliency = maps["saliency"]
        for part in (slice(1, 3), slice(2, 3)):
            torch.testing.assert_close(saliency[part].explain(images[part]).raw, saliency.raw[part])
        torch.testing.assert_close(saliency[1:][1].explain(images[2:]).raw, saliency.raw[2:])
    own = xai.Engine(SmallCNN(), forward=lambda model, images, of: model(images * TABLE[of, :1, None, None]))
    saliency = own.explain(LEFT, "saliency")["saliency"]
    torch.testing.assert_close(saliency[1:].explain(LEFT[1:]).raw, saliency.raw[1:])


def test_later_writes_to_the_other_input_have_no_effect() -> None:
    torch.manual_seed(0)
    engine, right = xai.Engine(pair(Siamese, SmallCNN())), RIGHT.clone()
    saliency = engine.explain((LEFT, right), "saliency", 1)[0]["saliency"]
    right.zero_()
    torch.testing.assert_close(saliency.explain(LEFT).raw, saliency.raw)
