"""Strange models are read correctly, or refused: each has its layer, cells and gradient declared from outside."""

from dataclasses import replace

import pytest
import torch

import xai_core as xai
from support.oracles import Oracle, Reading, gradient_error, reading, substitution_error
from support.strange import Strange
from support.strange_models import READ, REFUSED


def strange(models: dict[str, Strange]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("model", [pytest.param(model, id=name) for name, model in models.items()])


def oracle_of(model: Strange, read: Reading) -> Oracle:
    return Oracle(model.build(), model.forward, model.score, model.images(), read)


def default_reading(model: Strange) -> Reading:
    """Read the default layer, or the layer that the user has to name."""
    engine, images = model.engine(), model.images()
    try:
        return reading(engine, images, model.target)
    except xai.XAIError:
        if not model.either:
            raise
        return reading(engine, images, model.target, next(iter(model.layers)))


@strange(READ)
def test_read(model: Strange) -> None:
    read = default_reading(model)
    layer = read.layer.partition("@")[0]
    layers = {name: places for name, places in model.layers.items() if name.partition("@")[0] == layer}
    assert layers, f"the default layer is {read.layer}, not one of {list(model.layers)}"
    oracle = oracle_of(model, read)
    (name, places), *_ = layers.items()
    assert "@" not in name or name == f"{layer}@{oracle.call}"
    assert read.activation.shape[2:] == places.cells.shape
    held = places.cells >= 0
    torch.testing.assert_close(
        read.activation[..., held], places.maps(oracle.tensor)[..., held], atol=1e-5, rtol=1e-5
    )  # convolutions differ a little between memory formats
    assert gradient_error(oracle) < 1e-3
    assert substitution_error(oracle) < 1e-2
    assert oracle.places(textures=2).right


@strange(REFUSED)
def test_refused(model: Strange) -> None:
    with pytest.raises(xai.XAIError, match=model.refused):
        model.engine().explain(model.images(3), "grad-cam")


def test_a_tensor_that_is_made_before_the_layer_and_read_after_it() -> None:
    model = replace(
        READ["zero-shot classes"], forward=lambda model, images: model(images, torch.tensor([[1, 2], [3, 4]]))
    )
    oracle = oracle_of(model, reading(model.engine(), model.images(), model.target))
    assert substitution_error(oracle) < 1e-2


@pytest.mark.parametrize("call", range(4))
def test_layer_of_one_call(call: int) -> None:
    model = READ["layer that runs several times"]
    read = reading(model.engine(), model.images(), model.target, f"cell@{call}")
    oracle = oracle_of(model, read)
    assert oracle.call == call
    assert gradient_error(oracle) < 1e-3
    assert substitution_error(oracle) < 1e-2
