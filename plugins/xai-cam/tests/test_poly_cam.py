"""Poly-CAM against a loop over channels in float64 that follows its paper."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from support.references import Reference, relative, resized
from support.volume_models import PlainCNN3d, built, two_clips
from xai_cam.poly_cam import resolutions
from xai_core.errors import OptionError


def mask_of(channel: Tensor, by_range: bool = True) -> Tensor:
    """The channel between its percentiles 0.1 and 99.9, at the size of the image."""
    low, high = np.percentile(channel.numpy(), [0.1, 99.9])
    scaled = ((channel - low) / (high - low if by_range else max(high, 1e-12))).clamp(0, 1)
    return resized(scaled[None], (32, 32))[0]


def layer_map(reference: Reference, i: int, variant: str, by_range: bool = True) -> Tensor:
    """The score-weighted sum of the channels of one layer."""
    image, target = reference.images[i], reference.target[i]
    whole, total = reference.probability(image, target), torch.zeros_like(reference.activation[i, 0])
    for channel in reference.activation[i]:
        if channel.max() > channel.min():
            mask = mask_of(channel, by_range)
            shown = reference.probability(image * mask, target)
            drop = whole - reference.probability(image * (1 - mask), target)
            total += {"plus": shown, "minus": max(drop, 0), "both": max(shown + drop, 0)}[variant] * channel
    return total.relu()


def replica(model: nn.Module, layers: list[str], images: Tensor, variant: str, **options: bool) -> Tensor:
    """The maps of the layers, multiplied from the last to the first."""
    maps = []
    for layer in layers:
        reference = Reference(model, layer, images)
        maps.append(torch.stack([layer_map(reference, i, variant, **options) for i in range(len(images))]))
    product = maps.pop()
    while maps:
        fine = maps.pop()
        size, coarse = (fine.shape[1], fine.shape[2]), (product.shape[1], product.shape[2])
        local = resized(resized(fine, coarse), size).clamp(min=1e-12)
        product = fine / local * resized(product, size)
    return product


def explain(model: nn.Module, images: Tensor, method: str, **options: Any) -> Tensor:
    [saliency] = xai.Engine(model, **options).explain(images, method).values()
    return saliency.raw


CASES: dict[str, tuple[Callable[[], nn.Module], list[str]]] = {
    "cnn": (SmallCNN, ["stem", "last"]),
    "vit": (fused_vit, ["blocks.2.norm1"]),
}


@pytest.mark.parametrize("variant", ["plus", "minus", "both"])
@pytest.mark.parametrize("case", CASES)
def test_equals_its_replica_at_its_default_layers(images: Tensor, case: str, variant: str) -> None:
    make, layers = CASES[case]
    model, images = settled(make()), images[:2]
    expected = replica(model, layers, images, variant)
    ours = explain(model.double(), images.double(), f"poly-cam:variant={variant}", block=5)
    assert expected.any()
    assert relative(ours, expected) < 1e-4


def test_the_order_of_the_layers_does_not_matter(images: Tensor) -> None:
    model = settled(SmallCNN())
    one, other = (explain(model, images, f"poly-cam:layer={layers}") for layers in ("stem+last", "last+stem"))
    assert torch.equal(one, other)


def test_the_masks_of_the_authors_code_differ_by_this_much(images: Tensor) -> None:
    """As shares of the peak. They divide by the percentile 99.9 instead of the difference of both percentiles."""
    for make, layers, least in ((SmallCNN, ["stem", "last"], 0.001), (fused_vit, ["blocks.2.norm1"], 0.3)):
        model = settled(make())
        ours, theirs = (replica(model, layers, images[:2], "both", by_range=by_range) for by_range in (True, False))
        assert relative(theirs, ours) > least


def test_the_default_layers_are_the_last_of_each_resolution() -> None:
    model, images = torchvision.models.resnet18().eval(), torch.randn(1, 3, 64, 64)
    adapter = xai.Engine(model).adapter(images)
    assert list(resolutions(adapter)) == ["relu", "layer1", "layer2", "layer3", "layer4"]
    assert xai.create_explainer("poly-cam").forward_passes(adapter) == 1 + 2 * (64 + 64 + 128 + 256 + 512)


def test_volumes() -> None:
    maps = explain(built(PlainCNN3d), two_clips(), "poly-cam")
    assert maps.ndim == 4
    assert maps.any()


@pytest.mark.parametrize(("option", "message"), [("variant=times", "variant"), ("score=softmax", "score")])
def test_bad_options(option: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        xai.create_explainer(f"poly-cam:{option}")


def test_it_has_no_channels_for_other_methods() -> None:
    with pytest.raises(OptionError, match="weighted channels"):
        xai.create_explainer("finer-cam", base="poly-cam")


def test_layers_after_the_default_layer_are_not_used() -> None:
    """A U-Net has finer layers after its coarsest one, which contain scores rather than features."""
    adapter = xai.Engine(xai.load_model("shapes-unet")).adapter(torch.randn(1, 3, 64, 64))
    last = adapter.layer_name(adapter.default_layer)
    order = [site.layer for site in adapter.probe.on_path]
    assert all(order.index(layer) >= order.index(last) for layer in resolutions(adapter))
