"""What faithfulness metrics give for a model that says the same of every image; more is in test_conformance."""

import pytest
import torch
from torch import Tensor

import xai_core as xai
from support.explaining import maps_for
from support.models import Constant

# What a model of four classes gives that says the same of every image.
CONSTANT = {
    "aopc:region=8": 0,
    "average-drop": 0,
    "average-gain": 0,
    "average-increase": 0,
    "deletion:steps=12": 0.25,
    "faithfulness-correlation:samples=20": 0,
    "infidelity:samples=20": 0,
    "insertion:steps=12": 0.25,
    "irof:segments=12": 0,
    "matched-drop": 0,
    "pixel-flipping:region=8": 0.25,
    "sensitivity-n:samples=8": 0,
    "srg:steps=12": 0,
}
# What it gives for the maps that a method makes of it, which find nothing: those that explain again need a method.
NOTHING_FOUND = {
    "adcc": 0,
    "coherency": 0,  # no correlation
    "complexity": 0,
    "max-sensitivity:samples=2": 0,
    "parameter-randomization:layers=2": 1,  # weights of size 0 are drawn of size 0: one constant map is like another
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
    again = engine.explain(images, "eigen-cam", 1)["eigen-cam"].explain_again
    maps["m"] = xai.Saliency.of(maps["m"].raw, 3, SIZE, maps["m"].target, "m", again)
    given = values(engine, images, maps, name)
    torch.testing.assert_close(given, torch.full((3,), float(CONSTANT[name])), atol=1e-6, rtol=0)


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
@pytest.mark.parametrize("name", NOTHING_FOUND)
def test_what_a_method_makes_of_a_constant_model_gives_the_degenerate_value(images: Tensor, name: str) -> None:
    engine = xai.Engine(Constant(SIZE))
    maps = engine.explain(images, "grad-cam", 1)
    assert maps["grad-cam"].constant.all()
    assert values(engine, images, maps, name).tolist() == [NOTHING_FOUND[name]] * 3


def test_every_metric_of_faithfulness_has_a_degenerate_value() -> None:
    known = {name.partition(":")[0] for name in (*CONSTANT, *NOTHING_FOUND)}
    ours = {name for name in xai.list_metrics() if type(xai.create_metric(name)).__module__.startswith("xai_faith")}
    without_a_model = {name for name in ours if xai.create_metric(name).needs_ground_truth}
    assert known == ours - without_a_model - {"road"}  # which is in test_road
