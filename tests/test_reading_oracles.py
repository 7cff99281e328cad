"""The oracles accept what is right for every strange model, and reject what is wrong."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from support.oracles import Oracle, Reading, gradient_error, places_of, substitution_error
from support.strange import Places, Strange, raster
from support.strange_models import READ


def declared(model: Strange, layer: str, places: Places) -> Reading:
    """What an engine would read that is right about the layer and its places. Its gradient and scores are empty."""
    built = model.build()
    name, _, call = layer.partition("@")
    outputs: list[object] = []
    built.get_submodule(name).register_forward_hook(lambda _, args, output: outputs.append(output))
    with torch.no_grad():
        model.forward(built, model.images())
    tensor = tree_leaves(outputs[int(call or -1)])[-1]
    adapter = SimpleNamespace(spatial=lambda tensor, layer: places.maps(tensor))
    return Reading(adapter, layer, places.maps(tensor), torch.empty(0), torch.empty(0), torch.empty(0))


def oracle_of(model: Strange, read: Reading) -> Oracle:
    return Oracle(model.build(), model.forward, model.score, model.images(), read)


@pytest.mark.parametrize("model", [pytest.param(model, id=name) for name, model in READ.items()])
def test_declared_places_are_right(model: Strange) -> None:
    layer, places = next(iter(model.layers.items()))
    oracle = oracle_of(model, declared(model, layer, places))
    assert oracle.gradient()[..., places.cells >= 0].any()
    assert oracle.places(textures=2).right


def shifted(cells: Tensor) -> Tensor:
    return torch.cat([cells.flatten()[1:], cells.flatten()[:1]]).view_as(cells)


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("class token", raster(4, 4, 0)),
        ("class token", raster(4, 4, 1).mT),
        ("class token", raster(4, 4, 1).flip(0)),
        ("class token", raster(4, 4, 1).flip(1)),
        ("class token", shifted(raster(4, 4, 1))),
        ("class token", raster(4, 4, 1).roll(1, 0)),
        ("class token", raster(2, 8, 1)),
        ("registers before", raster(4, 4, 1)),
        ("registers after", raster(4, 4, 5)),
        ("registers in the middle", raster(4, 4, 3)),
        ("detection tokens", raster(4, 4, 6)),
        ("columns", raster(4, 4, 1)),
        ("flipped", raster(4, 4, 1)),
        ("windows", raster(4, 4, 1)),
        ("shuffled", raster(4, 4, 1)),
        ("not square, 25 tokens", raster(5, 5)),
        ("dropped tokens, mean", raster(3, 4, 1)),
    ],
)
def test_wrong_places_are_found(name: str, cells: Tensor) -> None:
    model = READ[name]
    layer, places = list(model.layers.items())[-1]
    oracle = oracle_of(model, declared(model, layer, places))
    oracle.read.adapter.spatial = lambda tensor, layer: replace(places, cells=cells).maps(tensor)
    assert not oracle.places(textures=2).right


@pytest.mark.parametrize("dims", [2, 3])
def test_two_cells_per_axis_are_located_by_two_places_per_axis(dims: int) -> None:
    pool = [torch.nn.functional.adaptive_avg_pool2d, torch.nn.functional.adaptive_avg_pool3d][dims - 2]
    size = (16,) * dims
    assert places_of(lambda images: pool(images, 2), size, lattice=2).right
    assert not places_of(lambda images: pool(images, 2).flip(-1), size, lattice=2).right
    assert places_of(lambda images: pool(images, 2), size, lattice=4, textures=256).r2 == pytest.approx(
        [0.8] * dims, abs=0.01
    )


def test_a_shift_of_the_whole_map_is_found() -> None:
    def center_of_the_image_in_another_cell(images: Tensor) -> Tensor:
        cells = torch.nn.functional.avg_pool2d(images, 4)  # 8x8
        return torch.nn.functional.pad(cells, (0, 2, 0, 0))  # the image covers the first 8 of 10 columns

    fit = places_of(center_of_the_image_in_another_cell, (32, 32))
    assert fit.r2[1] > 0.8
    assert fit.offset[1] > 0.6
    assert fit.offset[0] < 0.6


@pytest.mark.parametrize(
    ("name", "outer", "inner"),
    [
        ("several modules return one tensor", "backbone", "backbone.encoder"),
        ("all of a list of stages", "stages", "stages.0"),
        ("output read from an attribute", "trunk", "trunk.conv"),
    ],
)
def test_a_hook_that_some_readers_bypass_is_found(name: str, outer: str, inner: str) -> None:
    """The tensor is that of the inner module, which a hook on the outer one cannot replace for all who read it."""
    model = READ[name]
    places = model.layers[inner]
    read = declared(model, inner, places)
    maps = read.activation + 0.5 * torch.randn_like(read.activation)
    for hooked in (outer, inner):
        gradient, scores = hook(model, hooked, maps)
        oracle = oracle_of(model, replace(read, layer=outer, gradient=gradient, perturbed=maps, scores=scores))
        oracle.read.adapter.spatial = lambda tensor, layer: places.maps(tensor)
        right = hooked == inner
        assert (gradient_error(oracle) < 1e-4) == right
        assert (substitution_error(oracle) < 1e-4) == right


def hook(model: Strange, name: str, maps: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient at the first tensor that a module returns, and the scores with another one, by a usual hook."""
    built, leaves = model.build(), []

    def leaf(_: object, __: object, output: Tensor | tuple[Tensor, ...] | list[Tensor]) -> object:
        first, rest = (output, None) if isinstance(output, Tensor) else (output[0], output[1:])
        leaves.append(first.detach().requires_grad_())
        value = maps if len(leaves) > 1 else leaves[0].clone()
        return value if rest is None else type(output)([value, *rest])

    built.get_submodule(name).register_forward_hook(leaf)
    score = model.score(model.forward(built, model.images())).sum()
    (gradient,) = torch.autograd.grad(score, leaves[0], allow_unused=True)
    scores = model.score(model.forward(built, model.images())).detach()
    return torch.zeros_like(maps) if gradient is None else gradient, scores
