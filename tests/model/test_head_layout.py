"""The order of images, windows and heads in attention tensors, against attention that is computed head by head."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import xai_core as xai

IMAGES = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(4))
HEADS, WINDOWS = 2, 4
Fold = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
"""Functions from [B, windows, n, heads, d] to the shape in which the model attends, and back."""


def merged(*dims: int, count: int) -> Fold:
    """[B, windows, n, heads, d] -> `dims` first (as in permute), of which the first `count` are merged."""
    back = sorted(range(5), key=dims.__getitem__)

    def unfold(tensor: Tensor) -> Tensor:
        sizes = [{0: tensor.numel() // 128, 1: WINDOWS, 2: 4, 3: HEADS, 4: 4}[dim] for dim in dims[:count]]
        return tensor.unflatten(0, sizes).permute(back)

    return (lambda tensor: tensor.permute(dims).flatten(0, count - 1)), unfold


FOLDS: dict[str, Fold] = {
    "[B * windows, heads, n, d]": merged(0, 1, 3, 2, 4, count=2),
    "[B * windows * heads, n, d]": merged(0, 1, 3, 2, 4, count=3),
    "[B * heads * windows, n, d]": merged(0, 3, 1, 2, 4, count=3),
    "[B * heads, windows, n, d]": merged(0, 3, 1, 2, 4, count=2),
    "[B, windows, heads, n, d]": merged(0, 1, 3, 2, 4, count=1),
    "[B, heads, windows, n, d]": merged(0, 3, 1, 2, 4, count=1),
    "[heads * B * windows, n, d]": merged(3, 0, 1, 2, 4, count=3),
    "[windows * B, heads, n, d]": merged(1, 0, 3, 2, 4, count=2),
    "[windows * heads * B, n, d]": merged(1, 3, 0, 2, 4, count=3),
    "[heads, B, windows, n, d]": merged(3, 0, 1, 2, 4, count=1),
    "[heads, windows * B, n, d]": (
        lambda tensor: tensor.permute(3, 1, 0, 2, 4).flatten(1, 2),
        lambda tensor: tensor.unflatten(1, (WINDOWS, -1)).permute(2, 1, 3, 0, 4),
    ),
}  # fmt: skip


class Windows(nn.Module):
    """Attention in four windows of four patches. The projection reads the channels of each head together, or apart."""

    def __init__(self, fold: Fold, fused: bool, apart: bool) -> None:
        super().__init__()
        self.fold, self.fused, self.apart = fold, fused, apart
        self.patches, self.qkv = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 24)
        self.norm, self.proj, self.head = nn.LayerNorm(8), nn.Linear(8, 8), nn.Linear(8, 5)

    def tensors(self, images: Tensor) -> tuple[Tensor, ...]:
        """q, k and v [B, windows, n, heads, d]."""
        maps = self.patches(images).unflatten(3, (2, 2)).unflatten(2, (2, 2))
        tokens = maps.permute(0, 2, 4, 3, 5, 1).flatten(3, 4).flatten(1, 2)
        return self.qkv(tokens).unflatten(3, (3, HEADS, 4)).unbind(3)

    def forward(self, images: Tensor) -> Tensor:
        fold, unfold = self.fold
        q, k, v = map(fold, self.tensors(images))
        mixed = F.scaled_dot_product_attention(q, k, v) if self.fused else (q @ k.mT / 2).softmax(-1) @ v
        tokens = unfold(mixed)
        tokens = self.norm((tokens.mT if self.apart else tokens).flatten(3))
        return self.head(self.proj(tokens).mean((1, 2)))


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", FOLDS)
def test_windows_and_heads(name: str, fused: bool, apart: bool) -> None:
    torch.manual_seed(0)
    model = Windows(FOLDS[name], fused, apart).eval()
    [layer] = xai.Engine(model).attention(IMAGES).layers
    assert (layer.windows, layer.heads, layer.weights.shape) == (WINDOWS, HEADS, (3 * WINDOWS, HEADS, 4, 4))
    with torch.no_grad():
        q, k, _ = (tensor.double() for tensor in model.tensors(IMAGES))
        logits = torch.einsum("bwihd,bwjhd->bwhij", q, k) / 2
    torch.testing.assert_close(layer.weights.double(), logits.softmax(-1).flatten(0, 1), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(layer[1].weights, layer.weights[WINDOWS : 2 * WINDOWS])
