"""Where there is nothing to find, every explainer says so: zeros and a warning, never NaN."""

import functools
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.explaining import suitable
from support.models import SmallCNN, fused_vit, settled
from xai_core.errors import ConstantMapWarning


@torch.no_grad()
def dead_cnn() -> nn.Module:
    """A CNN whose last activation is zero."""
    model = settled(SmallCNN())
    model.last[1].bias.fill_(-100)
    return model


@torch.no_grad()
def even_cnn() -> nn.Module:
    """A CNN whose last activation is the same at every place, in every image."""
    model = settled(SmallCNN())
    model.last[0].weight.zero_()
    return model


@torch.no_grad()
def dead_vit() -> nn.Module:
    """A vision transformer whose last attention mixes tokens that are zero."""
    model = settled(fused_vit())
    for tensor in (model.blocks[2].norm1.weight, model.blocks[2].norm1.bias):
        tensor.zero_()
    return model


@functools.cache
def engine_of(make: Callable[[], nn.Module]) -> xai.Engine:
    """The engine of a model, which explaining leaves unchanged."""
    torch.manual_seed(0)
    return xai.Engine(make())


CASES = [
    pytest.param(make, method, id=f"{make.__name__}, {method}")
    for make in (dead_cnn, even_cnn, dead_vit)
    for method in suitable(engine_of(make), torch.zeros(1, 3, 32, 32))
]


@pytest.mark.parametrize(("make", "method"), CASES)
@pytest.mark.parametrize("target", [None, [[0, 1], [2, 3], [4, 0]]], ids=["predicted", "several targets"])
def test_nothing_to_find(
    images: Tensor, make: Callable[[], nn.Module], method: str, target: list[list[int]] | None
) -> None:
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        maps = engine_of(make).explain(images, method, target)[method]
    assert maps.raw.isfinite().all()
    assert bool(given) == maps.constant.any()
    assert not maps.values[maps.constant].any()
    assert all(issubclass(warning.category, ConstantMapWarning) for warning in given)
    if type(xai.create_explainer(method)).__module__.startswith("xai_cam"):  # others look at other layers too
        assert maps.constant.all()


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
@pytest.mark.parametrize("make", [SmallCNN, fused_vit])
def test_an_even_image(make: Callable[[], nn.Module]) -> None:
    """Of a gray image some methods find the borders, others nothing; none gives NaN."""
    engine, images = xai.Engine(settled(make())), torch.zeros(2, 3, 32, 32)
    for name, saliency in engine.explain(images, suitable(engine, images)).items():
        assert saliency.raw.isfinite().all(), name
        assert saliency.values.isfinite().all(), name
