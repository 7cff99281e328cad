"""Reads the attention of any model while it runs, fused or explicit.

A torch function mode observes `scaled_dot_product_attention`, `multi_head_attention_forward` and softmax over keys,
whichever library provides the model. It changes nothing. It stores references to queries, keys and values, or to the
weights if the model computes them explicitly.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from xai_core.errors import UnsuitableError
from xai_core.model.attention import AttentionLayer, DotProductAttention, ExplicitAttention
from xai_core.targets.measures import at_least_float32


class AttentionReader(TorchFunctionMode):
    """Context that passes every attention of this thread to `on_layer`, in order of execution.

    If `on_output` is given, it replaces the output of each attention, and values are stored for attention gradients.
    """

    def __init__(
        self,
        batch: int,
        on_layer: Callable[[AttentionLayer], None],
        on_output: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__()
        self._batch, self._on_layer, self._on_output = batch, on_layer, on_output

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the function unchanged, and record it if it is attention."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        layer: AttentionLayer | None = None
        if func is F.scaled_dot_product_attention:
            layer = _from_scaled_dot_product(self._on_output is not None, *args, **kwargs)
        elif func is F.multi_head_attention_forward:
            layer = _from_multi_head(*args, **kwargs)
        elif func in _SOFTMAX:
            layer = _from_softmax(result, self._batch, *args, **kwargs)
        if layer is None:
            return result
        self._on_layer(layer)
        return self._on_output(result) if self._on_output else result


_SOFTMAX = frozenset({F.softmax, torch.softmax, Tensor.softmax, torch.special.softmax})


def _from_scaled_dot_product(
    with_values: bool,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> AttentionLayer | None:
    def split(tokens: Tensor) -> Tensor:
        return (tokens.unsqueeze(-3) if tokens.ndim < 4 else tokens).flatten(0, -4)

    q, k, v = split(query.detach()), split(key.detach()), split(value.detach())
    if k.shape[1] != q.shape[1]:
        k, v = (few.repeat_interleave(q.shape[1] // k.shape[1], 1) for few in (k, v))
    tensors = {"q": q, "k": k, "v": v} if with_values else {"q": _alone(q), "k": _alone(k)}
    mask = None if attn_mask is None else attn_mask.detach()
    if mask is not None and mask.ndim > 4:
        mask = mask.expand(*query.shape[:-3], *mask.shape[-3:]).flatten(0, -4)
    shape = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    return DotProductAttention(shape, tensors.__getitem__, split, scale, mask, is_causal)


def _alone(tensor: Tensor) -> Tensor:
    """Return a copy of a tensor that is part of a larger one, such as q, k and v of one projection."""
    return tensor.clone() if tensor.untyped_storage().nbytes() > tensor.nbytes else tensor


def _from_multi_head(
    query: Tensor, key: Tensor, value: Tensor, embed_dim: int, num_heads: int, *args: Any, **kwargs: Any
) -> AttentionLayer:
    """Read `torch.nn.functional.multi_head_attention_forward`, which projects its inputs [N, B, E] itself."""
    named = dict(zip(_MULTI_HEAD_ARGUMENTS, args, strict=False)) | kwargs
    tokens = {"q": query.detach(), "k": key.detach(), "v": value.detach()}
    if query.ndim == 2:
        tokens = {name: tensor.unsqueeze(1) for name, tensor in tokens.items()}

    def heads(projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (num_heads, -1)).permute(1, 2, 0, 3)

    def project(name: str) -> Tensor:
        if named.get("bias_k") is not None or named.get("add_zero_attn") or named.get("static_k") is not None:
            raise UnsuitableError(
                "attention with `bias_k`, `add_zero_attn` or `static_k` is not supported: it has keys that do not "
                "correspond to a token; use a method for feature maps, such as grad-cam"
            )
        part, bias = "qkv".index(name), named.get("in_proj_bias")
        separate = named.get("use_separate_proj_weight")
        weight = named[f"{name}_proj_weight"] if separate else named["in_proj_weight"].chunk(3)[part]
        with torch.no_grad():
            return heads(F.linear(tokens[name], weight, None if bias is None else bias.chunk(3)[part]))

    def split(gradient: Tensor) -> Tensor:
        """Undo the output projection O W' + b."""
        weight = at_least_float32(named["out_proj_weight"].detach())
        return heads((gradient.unsqueeze(1) if gradient.ndim == 2 else gradient) @ weight)

    mask = _additive(named.get("attn_mask"), query.dtype)
    if mask is not None and mask.ndim == 3:
        mask = mask.unflatten(0, (-1, num_heads))
    padding = _additive(named.get("key_padding_mask"), query.dtype)
    if padding is not None:
        padding = padding[:, None, None, :]
        mask = padding if mask is None else mask + padding
    length, batch, _ = tokens["q"].shape
    return DotProductAttention((batch, num_heads, length, len(tokens["k"])), project, split, None, mask)


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


def _from_softmax(
    result: Tensor, batch: int, input: Tensor, dim: int = -1, *_: Any, **__: Any
) -> AttentionLayer | None:
    """Read a softmax over keys: [B', heads, N, M], or [B heads, N, N] with the heads in the batch dimension."""
    if dim not in (-1, result.ndim - 1) or result.ndim < 3 or result.shape[-1] < 2:
        return None
    weights = result.detach()
    if weights.ndim == 3:
        if weights.shape[-1] != weights.shape[-2] or weights.shape[0] % batch:
            return None
        weights = weights.unflatten(0, (batch, -1))
    return ExplicitAttention(weights.flatten(0, -4))
