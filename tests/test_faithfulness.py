"""What holds of every faithfulness metric: each image by itself, any block, any scale of the map, no trace."""

import copy

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from conftest import Constant, GatedCNN, given_to, maps_for, settled
from test_capture import HostReads

# What a model of four classes gives that says the same of every image.
CONSTANT = {
    "aopc:region=8": 0,
    "average-drop": 0,
    "average-increase": 0,
    "deletion:steps=12": 0.25,
    "faithfulness-correlation:samples=20": 0,
    "infidelity:samples=20": 0,
    "insertion:steps=12": 0.25,
    "irof:segments=12": 0,
    "pixel-flipping:region=8": 0.25,
    "sensitivity-n:samples=8": 0,
    "srg:steps=12": 0,
}
METRICS = [
    *CONSTANT,
    "adcc",
    "coherency",
    "complexity",
    "max-sensitivity:samples=2",
    "parameter-randomisation:layers=2",
]
# SLIC runs on the host; parameters are drawn there, and each changed copy of the model is probed. Both say so.
ON_THE_HOST = ("irof", "parameter-randomisation")
SIZE = (32, 32)


@pytest.fixture
def cnn() -> nn.Module:
    model = settled(GatedCNN())
    model.head.weight.data *= 4  # confident, so that scores move
    return model


def values(engine: xai.Engine, images: Tensor, maps: dict[str, xai.Saliency], name: str) -> Tensor:
    [[score]] = [one.values() for one in engine.evaluate(images, maps, name).values()]
    assert score.higher_is_better == xai.create_metric(name).higher_is_better
    return score.values


@pytest.mark.parametrize("name", METRICS)
def test_an_image_is_scored_alike_alone_and_among_others(cnn: nn.Module, images: Tensor, name: str) -> None:
    engine = xai.Engine(cnn)
    maps = engine.explain(images, "layer-cam")
    together = values(engine, images, maps, name)
    raw = maps["layer-cam"].raw
    for places in ([0], [2], [2, 1]):
        others = images[places] if len(places) < 2 else torch.cat([images[places], images[:1] * 3])
        given = engine.explain(others, "layer-cam")["layer-cam"]
        same = torch.cat([raw[places], given.raw[len(places) :]])  # rounding may order equal pixels in another way
        given = xai.Saliency.of(same, len(others), SIZE, given.target, "m", given.again)
        moved = values(engine, others, {"m": given}, name)[: len(places)]
        torch.testing.assert_close(moved, together[places], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", METRICS)
def test_the_block_does_not_matter(cnn: nn.Module, images: Tensor, name: str) -> None:
    images = images[:2]
    large = xai.Engine(cnn, block=1000)
    maps = large.explain(images, "layer-cam")
    expected = values(large, images, maps, name)
    for block in (1, 7):
        engine = xai.Engine(cnn, block=block)
        engine.adapter(images)
        with given_to(cnn) as batches:
            given = values(engine, images, maps, name)
        torch.testing.assert_close(given, expected, atol=1e-5, rtol=1e-4)
        assert max(map(len, batches), default=0) <= max(block, len(images))


@pytest.mark.parametrize("name", [name for name in METRICS if not name.startswith("max-sensitivity")])
def test_the_scale_of_the_map_does_not_matter(cnn: nn.Module, images: Tensor, name: str) -> None:
    engine = xai.Engine(cnn)
    saliency = engine.explain(images, "layer-cam")["layer-cam"]
    scaled = xai.Saliency.of(saliency.raw * 1024, len(images), SIZE, saliency.target, "scaled", saliency.again)
    expected = values(engine, images, {"m": saliency}, name)
    torch.testing.assert_close(values(engine, images, {"m": scaled}, name), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CONSTANT)
def test_a_constant_model_gives_the_degenerate_value(images: Tensor, name: str) -> None:
    engine = xai.Engine(Constant(SIZE))
    maps = maps_for(1, engine, images, m=torch.rand(3, 32, 32))
    again = engine.explain(images, "eigen-cam", 1)["eigen-cam"].again
    maps["m"] = xai.Saliency.of(maps["m"].raw, 3, SIZE, maps["m"].target, "m", again)
    given = values(engine, images, maps, name)
    torch.testing.assert_close(given, torch.full((3,), float(CONSTANT[name])), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", METRICS)
def test_models_of_any_precision(cnn: nn.Module, images: Tensor, name: str) -> None:
    single = xai.Engine(cnn)
    maps = single.explain(images, "layer-cam", 1)
    expected = values(single, images, maps, name)
    for dtype, atol in ((torch.float64, 1e-4), (torch.bfloat16, torch.inf)):
        engine = xai.Engine(copy.deepcopy(cnn).to(dtype))
        again = engine.explain(images, "layer-cam", 1)["layer-cam"]
        same = xai.Saliency.of(maps["layer-cam"].raw, 3, SIZE, again.target, "m", again.again)
        given = values(engine, images, {"m": same}, name)
        assert given.isfinite().all()
        assert (given - expected).abs().amax() <= atol


@pytest.mark.parametrize("name", METRICS)
def test_a_constant_map_is_scored(cnn: nn.Module, images: Tensor, name: str) -> None:
    engine = xai.Engine(cnn)
    saliency = engine.explain(images, "layer-cam")["layer-cam"]
    flat = xai.Saliency.of(torch.ones(3, 8, 8), 3, SIZE, saliency.target, "flat", saliency.again)
    assert values(engine, images, {"m": flat}, name).isfinite().all()


@pytest.mark.parametrize("name", METRICS)
def test_the_model_is_left_as_it_was(cnn: nn.Module, images: Tensor, name: str) -> None:
    cnn.train()
    before = copy.deepcopy(cnn.state_dict())
    engine = xai.Engine(cnn)
    first = values(engine, images, engine.explain(images, "layer-cam"), name)
    assert all(module.training for module in cnn.modules())
    assert all(parameter.grad is None for parameter in cnn.parameters())
    torch.testing.assert_close(cnn.state_dict(), before, atol=0, rtol=0)
    assert torch.equal(values(engine, images, engine.explain(images, "layer-cam"), name), first)


@pytest.mark.parametrize("name", [name for name in METRICS if not name.startswith(ON_THE_HOST)])
def test_nothing_is_read_from_the_device_before_the_end(cnn: nn.Module, images: Tensor, name: str) -> None:
    engine = xai.Engine(cnn)
    maps = engine.explain(images, "layer-cam")
    with HostReads() as evaluating:
        engine.evaluate(images, maps, name)
    assert len(evaluating.reads) <= 1, evaluating.reads
