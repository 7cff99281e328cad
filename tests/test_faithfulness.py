"""What faithfulness metrics give for a model that says the same of every image; more is in test_conformance."""

import pytest
import torch
from torch import Tensor

import xai_core as xai
from conftest import Constant, maps_for

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
SIZE = (32, 32)


def values(engine: xai.Engine, images: Tensor, maps: dict[str, xai.Saliency], name: str) -> Tensor:
    [[score]] = [one.values() for one in engine.evaluate(images, maps, name).values()]
    assert score.higher_is_better == xai.create_metric(name).higher_is_better
    return score.values


@pytest.mark.parametrize("name", CONSTANT)
def test_a_constant_model_gives_the_degenerate_value(images: Tensor, name: str) -> None:
    engine = xai.Engine(Constant(SIZE))
    maps = maps_for(1, engine, images, m=torch.rand(3, 32, 32))
    again = engine.explain(images, "eigen-cam", 1)["eigen-cam"].again
    maps["m"] = xai.Saliency.of(maps["m"].raw, 3, SIZE, maps["m"].target, "m", again)
    given = values(engine, images, maps, name)
    torch.testing.assert_close(given, torch.full((3,), float(CONSTANT[name])), atol=1e-6, rtol=0)
