"""The grid of tokens is read from responses to coded images, and no other grid with as many cells is taken for it."""

import timm
import torch

import xai_core as xai


def test_square_grids_are_not_taken_for_elongated_ones() -> None:
    images = torch.randn(2, 3, 32, 32)
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4, "num_classes": 5}
    for seed in range(12):
        torch.manual_seed(seed)
        model = timm.create_model("vit_tiny_patch16_224", **options).eval()
        assert xai.Engine(model).adapter(images).grid == (4, 4)
