"""Attention as the model computes it, against eager float64: masks, leading dimensions, and weights that change."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_core.errors import UnsuitableError
from xai_core.model.attention import AttentionLayer
from xai_core.model.attention_reader import AttentionReader

B, H, N, D = 2, 3, 5, 4


def read(compute: Callable[[], Any], batch: int = B, gradients: bool = False) -> tuple[list[AttentionLayer], Any]:
    """The attention layers of a computation, and its result."""
    layers: list[AttentionLayer] = []
    with AttentionReader(batch, layers.append, (lambda output: output.clone()) if gradients else None):
        return layers, compute()


def double(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def eager(q: Tensor, k: Tensor, mask: Tensor | None = None) -> Tensor:
    """Softmax of the logits, and zero where all keys are masked."""
    logits = q @ k.mT / q.shape[-1] ** 0.5
    if mask is not None:
        logits = logits.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else logits + mask
    exponentials = logits.exp()
    return exponentials / exponentials.sum(-1, keepdim=True).clamp(min=1e-300)


def test_padding_and_attention_masks_add_up() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    tokens = torch.randn(3, 5, 8)
    causal = torch.ones(5, 5, dtype=torch.bool).triu(1)
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[1, 3:] = True
    layers: list[AttentionLayer] = []
    with torch.no_grad(), AttentionReader(3, layers.append):
        _, expected = attention(
            tokens, tokens, tokens, key_padding_mask=padding, attn_mask=causal, average_attn_weights=False
        )
    weights = layers[0].rows()
    torch.testing.assert_close(weights, expected)
    assert weights[0, :, 0, 1:].eq(0).all()  # causal
    assert weights[1, :, 4, 3:].eq(0).all()  # padded


@pytest.mark.parametrize("additive", [False, True])
def test_rows_whose_keys_are_all_masked_are_zero(additive: bool) -> None:
    q, k, v = double(B, H, N, D), double(B, H, N, D), double(B, H, N, D)
    mask: Tensor = torch.rand(B, 1, N, N) > 0.3
    mask[..., 0] = True
    mask[1, :, 2] = False
    given = torch.zeros_like(mask, dtype=torch.float64).masked_fill(~mask, -math.inf) if additive else mask
    [layer], output = read(lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=given))
    expected = eager(q, k, mask)
    assert expected[1, :, 2].eq(0).all()
    torch.testing.assert_close(layer.rows(), expected)
    torch.testing.assert_close(layer.rows(2, 3), expected[:, :, 2:3])
    torch.testing.assert_close(layer.rows() @ v, output)


def test_an_image_whose_tokens_are_all_padding() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True).double().eval()
    tokens, padding = double(2, N, 8), torch.tensor([[False] * N, [True] * N])
    [layer], (output, _) = read(lambda: attention(tokens, tokens, tokens, key_padding_mask=padding, need_weights=False))
    assert layer.rows()[1].eq(0).all()
    torch.testing.assert_close(layer.rows()[0].sum(-1), torch.ones(2, N, dtype=torch.float64))
    torch.testing.assert_close(output[1], attention.out_proj.bias.expand(N, -1))


@pytest.mark.parametrize("mask", [(N, N), (H, N, N), (6, 1, N, N), (6, H, 1, N), (B, 1, 1, 1, N), (B, 6, H, N, N)])
def test_five_dimensions(mask: tuple[int, ...]) -> None:
    """[B, windows, heads, N, d], and masks with as many dimensions or fewer."""
    q, k, v, given = double(B, 6, H, N, D), double(B, 6, H, N, D), double(B, 6, H, N, D), double(*mask)
    [layer], output = read(lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=given))
    expected = eager(q, k, given)
    torch.testing.assert_close(expected @ v, output)
    torch.testing.assert_close(layer.rows(), expected.flatten(0, 1))
    torch.testing.assert_close(layer.rows(1, 3), expected.flatten(0, 1)[:, :, 1:3])


def test_heads_in_the_batch_dimension() -> None:
    q, k, v, mask = double(B * H, N, D), double(B * H, N, D), double(B * H, N, D), double(B * H, 1, N)
    [layer], output = read(lambda: F.scaled_dot_product_attention(q, k, v, attn_mask=mask), gradients=True)
    torch.testing.assert_close(layer.rows(), eager(q, k, mask).view(B, H, N, N))
    gradient = torch.randn_like(output)
    expected = (gradient @ v.mT).view(B, H, N, N)
    torch.testing.assert_close(layer.with_gradient(gradient).gradient_rows(), expected)


@pytest.mark.parametrize("query", [(1, H, 1, D), (H, 2, D), (2, D)])
def test_learned_queries_are_the_same_for_all_images(query: tuple[int, ...]) -> None:
    q, k, v = double(*query), double(B, H, N, D), double(B, H, N, D)
    [layer], output = read(lambda: F.scaled_dot_product_attention(q, k, v), gradients=True)
    assert (layer.batch, layer.heads, layer.queries, layer.keys) == (B, H, query[-2], N)
    expected = eager(q.expand(B, H, -1, -1), k)
    torch.testing.assert_close(layer.rows(), expected)
    gradient = torch.randn_like(output)
    torch.testing.assert_close(layer.with_gradient(gradient).gradient_rows(), gradient @ v.mT)


def in_place(weights: Tensor) -> Tensor:
    weights.mul_(0.5)
    weights.masked_fill_(torch.eye(N, dtype=torch.bool), 0)
    return F.dropout(weights, 0.1, training=False, inplace=True)


CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "unchanged": lambda weights: weights,
    "in place": in_place,
    "masked and normalized again": lambda weights: weights.tril() / weights.tril().sum(-1, keepdim=True),
    "heads combined": lambda weights: torch.einsum("bhij,gh->bgij", weights, MIX),
    "heads combined by a linear layer": lambda weights: F.linear(weights.permute(0, 2, 3, 1), MIX).permute(0, 3, 1, 2),
    "heads combined by a product": lambda weights: (weights.permute(0, 2, 3, 1) @ MIX.mT).permute(0, 3, 1, 2),
    "two softmaxes": lambda weights: 0.3 * weights + 0.7 * POSITIONS.softmax(-1),
}
MIX, POSITIONS = double(H, H), double(1, H, N, N)
PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "A @ v": lambda weights, v: weights @ v,
    "v' @ A'": lambda weights, v: (v.mT @ weights.transpose(-2, -1)).mT,
    "bmm": lambda weights, v: torch.bmm(weights.flatten(0, 1), v.flatten(0, 1)).view(B, H, N, D),
    "einsum": lambda weights, v: torch.einsum("b h i j, b h j d -> b h i d", weights, v),
    "einsum, values first": lambda weights, v: torch.einsum("...jd,...ij->...id", v, weights),
    "einsum, tokens first": lambda weights, v: torch.einsum("bhij,bhjd->ibhd", weights, v).permute(1, 2, 0, 3),
}


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("change", CHANGES)
def test_the_weights_are_those_that_multiply_the_values(change: str, product: str) -> None:
    logits, v = double(B, H, N, N), double(B, H, N, D)
    expected = CHANGES[change](logits.exp() / logits.exp().sum(-1, keepdim=True))
    [layer], output = read(lambda: PRODUCTS[product](CHANGES[change](logits.softmax(-1)), v))
    torch.testing.assert_close(expected @ v, output)
    torch.testing.assert_close(layer.rows(), expected)
    torch.testing.assert_close(layer.rows(1, 3), expected[:, :, 1:3])


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_gradient_is_that_of_the_changed_weights(product: str) -> None:
    logits, v, pulled = double(B, H, N, N).requires_grad_(), double(B, H, N, D), double(B, H, N, D)
    leaves: list[Tensor] = []
    layers: list[AttentionLayer] = []

    def leaf(weights: Tensor) -> Tensor:
        leaves.append(weights.detach().requires_grad_())
        return leaves[0].clone()

    with AttentionReader(B, layers.append, leaf):
        output = PRODUCTS[product](in_place(logits.softmax(-1)), v)
    (gradient,) = torch.autograd.grad(output, leaves[0], pulled)
    torch.testing.assert_close(layers[0].with_gradient(gradient).gradient_rows(), pulled @ v.mT)


def test_two_products_of_the_same_weights_are_one_layer() -> None:
    logits, v, positions = double(B, H, N, N), double(B, H, N, D), double(N, D)
    leaves: list[Tensor] = []
    layers: list[AttentionLayer] = []

    def leaf(weights: Tensor) -> Tensor:
        leaves.append(weights.detach().requires_grad_())
        return leaves[0].clone()

    with AttentionReader(B, layers.append, leaf):
        weights = logits.softmax(-1)
        output = weights @ v + weights @ positions
    (gradient,) = torch.autograd.grad(output.sum(), leaves[0])
    [layer] = layers
    expected = (v + positions).sum(-1)[:, :, None].expand(-1, -1, N, -1)
    torch.testing.assert_close(layer.with_gradient(gradient).gradient_rows(), expected)


def test_a_softmax_that_multiplies_no_values_is_no_attention() -> None:
    maps = double(B, H, N, N)
    layers, _ = read(lambda: (maps.softmax(-1) * maps).sum(1) @ maps[:, 0])
    assert not layers


@pytest.mark.parametrize("written", ["q", "k", "weights"])
def test_a_model_that_overwrites_its_attention_is_refused(written: str) -> None:
    tensors = {"q": double(B, H, N, D), "k": double(B, H, N, D)}

    def compute() -> None:
        if written == "weights":
            tensors["weights"] = (tensors["q"] @ tensors["k"].mT).softmax(-1)
            tensors["weights"] @ tensors["q"]
        else:
            F.scaled_dot_product_attention(tensors["q"], tensors["k"], tensors["k"])
        tensors[written].zero_()

    [layer], _ = read(compute)
    with pytest.raises(UnsuitableError, match="overwrites the inputs or the weights of an attention layer"):
        layer.rows()
