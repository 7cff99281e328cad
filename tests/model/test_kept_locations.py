"""Feature maps in image order are known from the graph, also with channels last. Other orders are measured."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from xai_core.model.adapter import ModelAdapter


class ChannelsLast(nn.Module):
    """A convolution, and a branch of linear layers on channels, as in ConvNeXt, beside a weak residual connection."""

    def __init__(self, reorder: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.reorder = reorder
        self.patches, self.norm, self.last = nn.Conv2d(3, 24, 4, 4), nn.LayerNorm(24), nn.Identity()
        self.mlp = nn.Sequential(nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 24))
        self.head = nn.Linear(24, 5)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.patches(images)
        branch = self.mlp(self.norm(self.reorder(maps.permute(0, 2, 3, 1))))
        return self.head(self.last(0.01 * maps + branch.permute(0, 3, 1, 2)).mean((2, 3)))


def read(model: nn.Module, images: Tensor) -> tuple[ModelAdapter, int]:
    """Return the adapter, and the number of images that the model ran on."""
    seen: list[int] = []
    with model.register_forward_pre_hook(lambda _, args: seen.append(len(args[0]))):
        adapter = xai.Engine(model).adapter(images)
        for layer in ("norm", "mlp", "last"):
            adapter.features(layer)
    return adapter, sum(seen)


def test_maps_with_channels_last_are_followed_without_coded_images() -> None:
    torch.manual_seed(0)
    model = ChannelsLast(lambda maps: maps * maps.mean((1, 2), keepdim=True).sigmoid()).eval()
    adapter, images = read(model, torch.randn(1, 3, 24, 32))
    layouts = {layer: adapter.features(layer).layout for layer in ("patches", "norm", "mlp", "last")}
    assert layouts == {"patches": "NCHW", "norm": "NHWC", "mlp": "NHWC", "last": "NCHW"}
    assert adapter.default_layer == "last"
    assert adapter.grid == adapter.features("mlp").grid == (6, 8)
    assert images == 2, "one pass with a graph, and one without"


FLIPPED = torch.arange(64).view(8, 8).flip(0).flatten()
TURNED = torch.arange(64).view(8, 8).T.flatten()


@pytest.mark.parametrize(
    ("reorder", "elements"),
    [
        (lambda maps: maps.flip(1), FLIPPED),
        (lambda maps: maps.flatten(1, 2)[:, FLIPPED].unflatten(1, (8, 8)), FLIPPED),
        (lambda maps: maps.transpose(1, 2), TURNED),
        (lambda maps: maps.permute(0, 2, 1, 3).contiguous(), TURNED),
        (lambda maps: maps.permute(0, 3, 2, 1).permute(0, 2, 3, 1), TURNED),
        (lambda maps: torch.einsum("ij,bjwc->biwc", torch.eye(8).flip(0), maps), FLIPPED),
    ],
)
def test_maps_with_channels_last_in_another_order_are_measured(
    reorder: Callable[[Tensor], Tensor], elements: Tensor
) -> None:
    torch.manual_seed(0)
    adapter, images = read(ChannelsLast(reorder).eval(), torch.randn(1, 3, 32, 32))
    assert adapter.features("mlp").elements == tuple(elements.tolist())
    assert adapter.features("last").elements == tuple(elements.tolist())
    assert adapter.features("patches").elements == tuple(range(64))
    assert images > 2
