"""Models with int8 layers are read. Their nodes in the autograd graph have no Python class."""

from collections.abc import Callable

import pytest
import timm
import torch
from torch import nn

import xai_core as xai
from support.runtimes import int8_dynamic, int8_static


def int8_transformer() -> nn.Module:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=4, depth=1, num_classes=5).eval()
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear})


@pytest.mark.parametrize(
    ("make", "layer"),
    [(int8_dynamic, "last"), (int8_static, "1.last"), (int8_transformer, "norm")],
    ids=["dynamic", "static", "transformer"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_int8_models_are_read(make: Callable[[], nn.Module], layer: str) -> None:
    engine, image = xai.Engine(make()), torch.rand(1, 3, 16, 16)
    assert engine.adapter(image).features(layer).grid == (4, 4)
    (saliency,) = engine.explain(image, f"score-cam:layer={layer}").values()
    assert saliency.raw.shape == (1, 4, 4)
