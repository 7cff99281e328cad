"""A small detector with a decoder of queries, as in DETR, and variants that are not such decoders."""

from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, HEADS, CLASSES = 16, 2, 4
TOKENS = 16


class Attention(nn.Module):
    """Multi-head attention of queries to keys, whose values may be computed from other vectors.

    With `explicit`, the weights are computed and kept in `weights`. With `fused`, another function computes it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.explicit = self.fused = False
        self.weights: Tensor | None = None

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor | None = None) -> Tensor:
        values = keys if values is None else values
        if self.fused:
            return self.by_one_function(queries, keys, values)
        q, k, v = (
            layer(each).unflatten(-1, (HEADS, -1)).transpose(1, 2)
            for layer, each in ((self.q, queries), (self.k, keys), (self.v, values))
        )
        if not self.explicit:
            return self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        self.weights = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
        return self.out((self.weights @ v).transpose(1, 2).flatten(2))

    def by_one_function(self, *tokens: Tensor) -> Tensor:
        """Compute the attention as `nn.MultiheadAttention` does, with the tokens before the images."""
        layers = (self.q, self.k, self.v)
        output, _ = F.multi_head_attention_forward(
            *(each.transpose(0, 1) for each in tokens), WIDTH, HEADS, None, torch.cat([one.bias for one in layers]),
            None, None, False, 0.0, self.out.weight, self.out.bias, training=False, use_separate_proj_weight=True,
            q_proj_weight=self.q.weight, k_proj_weight=self.k.weight, v_proj_weight=self.v.weight,
        )  # fmt: skip
        return output.transpose(0, 1)


class Layer(nn.Module):
    """Self-attention, cross-attention and MLP of queries."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.among, self.across, self.mlp = Attention(), Attention(), nn.Linear(WIDTH, WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))

    def forward(self, queries: Tensor, first: Tensor, tokens: Tensor) -> Tensor:
        if self.how == "parallel attention":
            queries = queries + self.among(queries, queries) + self.across(queries, tokens)
        elif self.how == "cross-attention first":
            queries = queries + self.across(queries, tokens)
            queries = queries + self.among(queries, queries)
        else:
            values = first if self.how == "values of the first queries" else None
            queries = self.norms[0](queries + self.among(queries, queries, values)).expand(len(tokens), -1, -1)
            queries = self.norms[1](queries + self.across(queries, tokens))
        if self.how == "queries mix between layers":
            queries = queries + queries.roll(1, 1)
        if self.how == "queries change places":
            queries = queries[:, [1, 0, *range(2, queries.shape[1])]]
        return queries + self.mlp(queries).relu()


class Decoding(nn.Module):
    """A detector with one layer of an encoder and two layers of a decoder, which may deviate from DETR."""

    def __init__(self, how: str = "", queries: int = 5) -> None:
        super().__init__()
        self.how, self.config = how, SimpleNamespace(num_labels=CLASSES)
        self.patches = nn.Conv2d(3, WIDTH, 8, 8)
        self.encoder, self.norm = Attention(), nn.LayerNorm(WIDTH)
        self.positions = nn.Parameter(torch.randn(TOKENS, WIDTH))
        self.queries = nn.Parameter(torch.randn(1, queries, WIDTH))
        self.layers = nn.ModuleList(Layer(how) for _ in range(2))
        self.classes, self.boxes = nn.Linear(WIDTH, CLASSES), nn.Linear(WIDTH, 4)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        patches = self.patches(images).flatten(2).mT + self.positions
        tokens = self.norm(patches + self.encoder(patches, patches))
        first = queries = self.queries
        if self.how != "queries without images":
            first = queries = queries.expand(len(images), -1, -1)
        if self.how == "queries from the image":
            first = queries = queries + tokens[:, : queries.shape[1]]
        states = []
        for number, layer in enumerate(self.layers):
            queries = layer(queries, first, self.keys(tokens, patches, number))
            states.append(queries)
        if self.how == "the head reads all layers":
            queries = torch.stack(states).sum(0)
        if self.how == "queries mix in the head":
            queries = queries + queries.mean(1, keepdim=True)
        if self.how == "the head reads the tokens":
            queries = queries + tokens.mean(1, keepdim=True)
        return {"logits": self.classes(queries), "pred_boxes": self.boxes(queries).sigmoid()}

    def keys(self, tokens: Tensor, patches: Tensor, number: int) -> Tensor:
        """Return the keys of a layer of the decoder."""
        if self.how == "keys of an earlier layer" and number:
            return patches
        changed = {
            "keys in another order": tokens.flip(1),
            "keys without a token": tokens[:, 1:],
            "keys with another token": torch.cat([tokens, tokens.mean(1, keepdim=True)], 1),
            "keys that mix tokens": tokens + tokens.roll(1, 1),
        }
        return changed.get(self.how, tokens)


OTHERS = (
    "parallel attention",
    "values of the first queries",
    "queries mix between layers",
    "queries change places",
    "queries from the image",
    "the head reads all layers",
    "queries mix in the head",
    "the head reads the tokens",
    "keys of an earlier layer",
    "keys in another order",
    "keys without a token",
    "keys with another token",
    "keys that mix tokens",
)
"""Variants in which the rules for decoders do not hold."""
