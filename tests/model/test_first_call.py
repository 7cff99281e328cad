"""The first call of a model runs few passes, and its memory is limited."""

import gc
import math
from typing import Any

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import xai_core as xai
from xai_core.model.coded_images import CodedImages
from xai_core.model.responses import respond
from xai_core.model.sites import Site


def test_the_first_call_costs_little_more_than_its_images() -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=64, patch_size=8, depth=6, num_classes=5).eval()
    image, images = torch.randn(1, 3, 64, 64), list[int]()
    with torch.no_grad(), FlopCounterMode(display=False) as forward:
        model(image)
    model.register_forward_pre_hook(lambda _, args: images.append(len(args[0])))
    with FlopCounterMode(display=False) as first:
        xai.Engine(model).adapter(image)
    backward = first.get_total_flops() / forward.get_total_flops() - sum(images)
    assert 2 < backward < 3, "two tests of token mixing, and gradients at the last tokens"


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("hiera_tiny_224", {"img_size": 128}),  # attention over 4 numbers of tokens
        ("nest_tiny", {"img_size": 128}),
        ("maxvit_pico_rw_256", {"img_size": 128, "depths": (1, 1, 1, 1)}),  # windows in 4 stages
    ],
)
def test_each_code_is_shown_once(name: str, options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model, images = timm.create_model(name, num_classes=5, **options).eval(), list[int]()
    adapter = xai.Engine(model).adapter
    model.register_forward_pre_hook(lambda _, args: images.append(len(args[0])))
    sites = adapter(torch.randn(1, 3, 128, 128)).probe.layouts.sites
    finest = max(site.shape[2] for site in sites if len(site.shape) == 4)
    assert sum(images) <= 2 + 2 + 2 * 2 * (math.ceil(math.log2(finest)) + 1)


def test_the_memory_does_not_grow_from_one_block_of_coded_images_to_the_next() -> None:
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", img_size=64, patch_size=8, depth=2, num_classes=5).eval()
    blocks = list[tuple[int, int]]()
    largest = 65 * 4 * 192 * 4  # the hidden layer of an MLP: tokens, channels, bytes
    engine = xai.Engine(model, memory=4 * largest * 4)
    model.register_forward_pre_hook(lambda _, args: blocks.append((len(args[0]), live_bytes())))
    engine.adapter(torch.randn(1, 3, 64, 64))
    images, memory = zip(*blocks[3:], strict=True)
    assert {*images} == {4}
    assert max(memory) - min(memory) < 4096


@pytest.mark.parametrize("block", [1, 2, 6])
def test_responses_do_not_depend_on_the_block(block: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.ReLU(inplace=True), nn.Conv2d(8, 8, 1), nn.Identity()).eval()
    keys = [(Site(str(number), 0, (), (1, 8, 4, 4), 512), "NCHW") for number in (0, 2, 3)]
    images = CodedImages((3, 16, 16), (3, 3))
    whole = respond(model, model, images, keys, 100)
    for key, found in respond(model, model, images, keys, block).items():
        for part, expected in zip(found.contrasts, whole[key].contrasts, strict=True):
            np.testing.assert_allclose(part, expected, rtol=1e-4, atol=1e-5)


def live_bytes() -> int:
    """Return the number of bytes of all tensors in memory, each storage counted once."""
    tensors = (each for each in gc.get_objects() if type(each) is Tensor)
    return sum({each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}.values())
