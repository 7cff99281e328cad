"""The grid of tokens is read from responses to coded images, and no other grid with as many cells is taken for it."""

import pytest
import timm
import torch
from torch import Tensor, nn

import xai_core as xai
from xai_core.errors import LayerError


class Shifted(nn.Module):
    """Features whose rows or columns are shifted cyclically, and then blurred, so that they cannot be read."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.patches, self.blurred, self.head = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 3, 1, 1), nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.blurred(self.patches(images).roll(3, self.dim)).relu().mean((2, 3)))


def test_square_grids_are_not_taken_for_elongated_ones() -> None:
    images = torch.randn(2, 3, 32, 32)
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 32, "depth": 3, "num_heads": 4, "num_classes": 5}
    for seed in range(12):
        torch.manual_seed(seed)
        model = timm.create_model("vit_tiny_patch16_224", **options).eval()
        assert xai.Engine(model).adapter(images).grid == (4, 4)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("side", [32, 64])
def test_the_order_of_an_earlier_map_is_not_used_if_the_responses_contradict_it(dim: int, side: int) -> None:
    images = torch.randn(2, 3, side, side)
    for seed in range(3):
        torch.manual_seed(seed)
        adapter = xai.Engine(Shifted(dim).eval()).adapter(images)
        assert adapter.default_layer == "patches"
        with pytest.raises(LayerError, match="can be located"):
            adapter.features("blurred")
