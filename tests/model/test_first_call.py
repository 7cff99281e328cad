"""The first call of a model runs few passes: nothing is computed twice."""

import timm
import torch
from torch.utils.flop_counter import FlopCounterMode

import xai_core as xai


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
