"""Reads the arguments of PyTorch's attention functions."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from xai_core.errors import UnsuitableError
from xai_core.model.attention import AttentionLayer, DotProductAttention, Reference
from xai_core.model.head_layout import HeadLayout
from xai_core.precision import at_least_float32


def from_scaled_dot_product(
    batch: int,
    layout: HeadLayout | None,
    with_values: bool,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[AttentionLayer, Tensor]:
    """Read `torch.nn.functional.scaled_dot_product_attention`, with any number of leading dimensions.

    Return the layer and the values.
    """
    groups = query.shape[-3] // key.shape[-3] if enable_gqa else 1
    each = [query.shape[:-2], key.shape[:-2], value.shape[:-2]][: 1 if groups > 1 else 3]
    leading = torch.broadcast_shapes(*each) or torch.Size([1])
    layout = layout or HeadLayout.of(leading, batch)
    kept = {"q": _reference(query), "k": _reference(key)} | ({"v": _reference(value)} if with_values else {})

    def arrange(tensor: Tensor) -> Tensor:
        return layout.arrange(tensor.expand(*leading, *tensor.shape[-2:]), batch)

    def make(name: str) -> Tensor:
        tensor = kept[name].tensor
        return arrange(tensor if name == "q" or groups == 1 else tensor.repeat_interleave(groups, -3))

    mask = None if attn_mask is None else attn_mask.detach()
    if mask is not None and mask.ndim > 2 and (leading[1:] != (layout.heads,) or layout.outside > 1):
        mask = arrange(mask)
    shape = (math.prod(leading) // layout.heads, layout.heads, query.shape[-2], key.shape[-2])
    layer = DotProductAttention(shape, make, arrange, scale, mask, is_causal)
    layer.leading = tuple(leading)
    return layer, value


def _reference(tensor: Tensor) -> Reference:
    """Return a reference to a tensor, or to a copy if it is part of a larger one, such as q, k and v together."""
    return Reference(tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor)


def from_multi_head(
    query: Tensor, key: Tensor, value: Tensor, embed_dim: int, num_heads: int, *args: Any, **kwargs: Any
) -> tuple[AttentionLayer, Tensor]:
    """Read `torch.nn.functional.multi_head_attention_forward`, which projects its inputs [N, B, E] itself.

    Return the layer and the values.
    """
    named = dict(zip(_MULTI_HEAD_ARGUMENTS, args, strict=False)) | kwargs
    inputs = {"q": Reference(query), "k": Reference(key), "v": Reference(value)}

    def heads(projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (num_heads, -1)).permute(1, 2, 0, 3)

    def with_batch(tokens: Tensor) -> Tensor:
        return tokens.unsqueeze(1) if tokens.ndim == 2 else tokens

    def project(name: str) -> Tensor:
        if named.get("bias_k") is not None or named.get("add_zero_attn") or named.get("static_k") is not None:
            raise UnsuitableError(
                "attention with `bias_k`, `add_zero_attn` or `static_k` is not supported, because some keys do not "
                "correspond to a token. Use a method for feature maps, such as grad-cam"
            )
        part, bias = "qkv".index(name), named.get("in_proj_bias")
        separate = named.get("use_separate_proj_weight")
        weight = named[f"{name}_proj_weight"] if separate else named["in_proj_weight"].chunk(3)[part]
        tokens = with_batch(inputs[name].tensor)
        with torch.no_grad():
            return heads(F.linear(tokens, weight, None if bias is None else bias.chunk(3)[part]))

    def split(gradient: Tensor) -> Tensor:
        """Undo the output projection O W' + b."""
        weight = at_least_float32(named["out_proj_weight"].detach())
        return heads(with_batch(gradient) @ weight)

    mask = _additive(named.get("attn_mask"), query.dtype)
    if mask is not None and mask.ndim == 3:
        mask = mask.unflatten(0, (-1, num_heads))
    padding = _additive(named.get("key_padding_mask"), query.dtype)
    if padding is not None:
        padding = padding.unsqueeze(0) if padding.ndim == 1 else padding
        padding = padding[:, None, None, :]
        mask = padding if mask is None else mask + padding
    batch = query.shape[1] if query.ndim == 3 else 1
    return DotProductAttention((batch, num_heads, len(query), len(key)), project, split, None, mask), value


_MULTI_HEAD_ARGUMENTS = (
    "in_proj_weight", "in_proj_bias", "bias_k", "bias_v", "add_zero_attn", "dropout_p", "out_proj_weight",
    "out_proj_bias", "training", "key_padding_mask", "need_weights", "attn_mask", "use_separate_proj_weight",
    "q_proj_weight", "k_proj_weight", "v_proj_weight", "static_k", "static_v", "average_attn_weights", "is_causal",
)  # fmt: skip


def _additive(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Return a multi-head mask as additive values. True in a boolean mask means that a key is *not* attended to."""
    if mask is None or mask.dtype != torch.bool:
        return None if mask is None else mask.detach()
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -math.inf)
