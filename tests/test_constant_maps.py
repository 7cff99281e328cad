"""Where there is nothing to find, every explainer says so: zeros and a warning, never NaN."""

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
    """A vision transformer whose attention mixes tokens that are zero."""
    model = settled(fused_vit())
    for block in model.blocks:
        block.norm1.weight.zero_()
        block.norm1.bias.zero_()
    return model


@pytest.mark.parametrize("make", [dead_cnn, even_cnn, dead_vit])
@pytest.mark.parametrize("target", [None, [[0, 1], [2, 3], [4, 0]]], ids=["predicted", "several targets"])
def test_nothing_to_find(images: Tensor, make: Callable[[], nn.Module], target: list[list[int]] | None) -> None:
    """Constant maps are zero, and warnings name their methods, and no other."""
    engine = xai.Engine(make())
    methods = suitable(engine, images)
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always")
        maps = engine.explain(images, methods, target)
    assert all(issubclass(warning.category, ConstantMapWarning) for warning in recorded)
    named = {str(warning.message).partition(" found no evidence")[0] for warning in recorded}
    assert named == {method for method, saliency in maps.items() if saliency.constant.any()}
    for method, saliency in maps.items():
        assert saliency.raw.isfinite().all(), method
        assert not saliency.values[saliency.constant].any(), method
        explainer = xai.create_explainer(method)
        # In the transformer, methods without gradients see activations that the scores do not depend on.
        sees_nothing = make is not dead_vit or getattr(explainer, "gradients", False)
        sees_nothing &= explainer.name != "recipro-cam"  # whose masks are cut off at the border
        if type(explainer).__module__.startswith("xai_cam") and sees_nothing:  # others read other layers too
            assert saliency.constant.all(), method


@pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")
@pytest.mark.parametrize("make", [SmallCNN, fused_vit])
def test_an_even_image(make: Callable[[], nn.Module]) -> None:
    """Of a gray image some methods find the borders, others nothing; none gives NaN."""
    engine, images = xai.Engine(settled(make())), torch.zeros(2, 3, 32, 32)
    for name, saliency in engine.explain(images, suitable(engine, images)).items():
        assert saliency.raw.isfinite().all(), name
        assert saliency.values.isfinite().all(), name
