"""Reference implementations that read whole attention matrices, and comparisons with them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

import xai_core as xai
from support.attention_models import Matrices
from support.models import fused_vit, settled


def read_row(reads: str, tokens: int, prefix: int) -> Tensor:
    """The weight [N] of each token in the head: equal for what it averages, and for what it concatenates or adds."""
    row = torch.zeros(tokens, dtype=torch.float64)
    match reads:
        case "class":
            row[0] = 1
        case "prefix":
            row[:prefix] = 1 / prefix
        case "patches":
            row[prefix:] = 1 / (tokens - prefix)
        case "all":
            row[:] = 1 / tokens
        case "class and patches":
            row[0], row[prefix:] = 0.5, 0.5 / (tokens - prefix)
        case _:
            raise AssertionError(reads)
    return row


def rollout_replica(
    matrices: Matrices, prefix: int, row: Tensor, fuse: Callable[[Tensor], Tensor], discard: float = 0
) -> Tensor:
    """Abnar and Zuidema, section 4, with whole matrices, for one image at a time."""
    maps = []
    for image in range(len(matrices[0])):
        tokens = matrices[0].shape[-1]
        rolled = torch.eye(tokens, dtype=torch.float64)
        for layer in matrices:
            fused = fuse(layer[image])
            keep = fused[0, 0].clone()
            smallest = fused.flatten().argsort()[: int(tokens * tokens * discard)]
            fused.flatten()[smallest] = 0
            fused[0, 0] = keep
            mixed = 0.5 * fused + 0.5 * torch.eye(tokens, dtype=torch.float64)
            rolled = (mixed / mixed.sum(1, keepdim=True)) @ rolled
        maps.append((row @ rolled)[prefix:])
    side = round(len(maps[0]) ** 0.5)
    return torch.stack(maps).view(-1, side, side)


def slow_pooling(head: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pooled tokens [B,C] of a head of SigLIP, and the weights [B,heads,1,N]."""
    pooled, weights = slow_attention(head.attention, head.probe, tokens)
    return (pooled + head.mlp(head.layernorm(pooled)))[:, 0], weights


def slow_attention(attention: nn.MultiheadAttention, query: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output [B,1,C] for one query [1,1,C] that attends to tokens [B,N,C], and the weights [B,heads,1,N]."""
    assert attention.in_proj_bias is not None
    query, key, value = (
        nn.functional.linear(each, weight, bias).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for each, weight, bias in zip(
            (query.expand(len(tokens), -1, -1), tokens, tokens),
            attention.in_proj_weight.chunk(3),
            attention.in_proj_bias.chunk(3),
            strict=True,
        )
    )
    weights = (query @ key.mT / query.shape[-1] ** 0.5).softmax(-1)
    return attention.out_proj((weights @ value).transpose(1, 2).flatten(2)), weights


def normalized(raw: Tensor, size: tuple[int, int]) -> Tensor:
    maps = nn.functional.interpolate(raw[:, None], size, mode="bilinear")[:, 0]
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    return (maps - low) / (high - low)


def assert_equals(saliency: xai.Saliency, replica: Tensor) -> None:
    torch.testing.assert_close(saliency.raw.double(), replica, atol=1e-6, rtol=1e-5)
    expected = normalized(replica, (saliency.values.shape[-2], saliency.values.shape[-1]))
    torch.testing.assert_close(saliency.values.double(), expected, atol=1e-5, rtol=0)


def assert_is(saliency: xai.Saliency, replica: Tensor) -> None:
    """Equal up to float32: where the identity's part of a mean is large, what varies over it is rounded with it."""
    torch.testing.assert_close(saliency.raw.double(), replica, atol=1e-7, rtol=1e-5)
    span = replica.amax((1, 2)) - replica.amin((1, 2))
    rounding = (1e-6 * replica.amax((1, 2)) / span).amax().item()
    torch.testing.assert_close(saliency.values.double(), normalized(replica, (32, 32)), atol=1e-5 + rounding, rtol=0)


class Cut(nn.Module):
    """A ViT whose first blocks run under `no_grad`, or all of them."""

    def __init__(self, cut: int) -> None:
        super().__init__()
        self.vit, self.cut = settled(fused_vit()), cut

    def forward(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            tokens = self.vit._pos_embed(self.vit.patch_embed(images))
            for block in self.vit.blocks[: self.cut]:
                tokens = block(tokens)
        for block in self.vit.blocks[self.cut :]:
            tokens = block(tokens)
        return self.vit.forward_head(self.vit.norm(tokens))
