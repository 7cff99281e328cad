"""Networks of MONAI: the default layer, its locations, gradients and substitution, against independent oracles."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from monai.networks import nets
from torch import Tensor, nn

import xai_core as xai
from support.oracles import Oracle, gradient_error, reading, substitution_error
from support.volume_models import built, two_clips

CLASS = 1
SIZE, SMALL = (32, 32, 32), (16, 16, 16)
INSIDE = torch.zeros(SMALL, dtype=torch.bool)
INSIDE[4:10, 4:10, 4:10] = True


def densenet() -> nn.Module:
    return nets.DenseNet(3, 3, 5, init_features=8, growth_rate=4, block_config=(2, 2))


def deep_densenet() -> nn.Module:
    return nets.DenseNet(3, 3, 5, init_features=8, growth_rate=4, block_config=(2, 2, 2))


def resnet() -> nn.Module:
    return nets.ResNet("basic", [1] * 4, [8, 16, 32, 64], n_input_channels=3, num_classes=5, conv1_t_stride=2)


def vit() -> nn.Module:
    options = {"hidden_size": 32, "mlp_dim": 64, "num_layers": 2, "num_heads": 4, "num_classes": 5}
    return nets.ViT(3, SIZE, (8, 8, 8), classification=True, **options)


def unet() -> nn.Module:
    return nets.UNet(3, 3, 4, (8, 8, 16), (2, 2), num_res_units=1)


def class_score(output: Any) -> Tensor:
    return (output[0] if isinstance(output, tuple) else output)[:, CLASS]


def region_score(output: Tensor) -> Tensor:
    return output[:, CLASS, INSIDE].mean(1)


REGION = xai.Region(CLASS, INSIDE)
Size = tuple[int, ...]
NETWORKS: dict[str, tuple[Callable[[], nn.Module], Size, object, Callable[[Any], Tensor], str, Size]] = {
    "DenseNet": (densenet, SIZE, CLASS, class_score, "class_layers.relu", (4, 4, 4)),
    "DenseNet of 2x2x2 cells": (deep_densenet, SIZE, CLASS, class_score, "class_layers.relu", (2, 2, 2)),
    "ResNet of 2x2x2 cells": (resnet, (64, 64, 64), CLASS, class_score, "layer4", (2, 2, 2)),
    "ViT": (vit, SIZE, CLASS, class_score, "blocks.1.norm1", (4, 4, 4)),
    "UNet": (unet, SMALL, REGION, region_score, "model.1", (8, 8, 8)),
}


@pytest.mark.parametrize(("build", "size", "target", "score", "layer", "grid"), NETWORKS.values(), ids=NETWORKS)
def test_the_default_layer_is_right(
    build: Callable[[], nn.Module],
    size: Size,
    target: object,
    score: Callable[[Any], Tensor],
    layer: str,
    grid: Size,
) -> None:
    model, volumes = built(build), two_clips(size)
    read = reading(xai.Engine(model), volumes, target)
    assert (read.layer, read.activation.shape[2:]) == (layer, grid)
    oracle = Oracle(model, lambda model, volumes: model(volumes), score, volumes, read)
    assert gradient_error(oracle) < 1e-5
    assert substitution_error(oracle) < 1e-3
    assert oracle.places(lattice=min(4, *grid), textures=2).right
