"""Attention masks, as `nn.MultiheadAttention` applies them."""

import torch
from torch import nn

from xai_core.model.attention import AttentionLayer
from xai_core.model.attention_reader import AttentionReader


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
