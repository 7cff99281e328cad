"""Reads the attention of any model while it runs, fused or explicit.

A torch function mode observes `scaled_dot_product_attention`, `multi_head_attention_forward` and softmax over keys,
whichever library provides the model. It changes nothing. It stores references to queries, keys and values, or to the
weights if the model computes them explicitly. Rows of the attention matrix A, and of the gradient dA of the score, are
computed on request only. The gradient follows from that of the attention's output O = A v, as dA = dO v'.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import cache, cached_property
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode

from xai_core.errors import NotCapturedError, UnsuitableError
from xai_core.targets.target import wide

ROW_BLOCK = 128
"""The number of attention rows that are computed at a time. It limits memory to [B, heads, 128, N]."""


class AttentionLayer(ABC):
    """The attention matrix of one layer for a batch, [B, heads, queries, keys], which is computed row by row."""

    batch: int
    heads: int
    queries: int
    keys: int
    _gradient: Tensor | None = None

    @property
    def of_one_query(self) -> bool:
        """Whether one query, such as a separate class token, attends to several keys."""
        return self.queries == 1 < self.keys

    @abstractmethod
    def rows(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """Return the attention weights of query tokens `start` to `stop`, float32 or float64. Each row sums to one."""

    @abstractmethod
    def gradient_rows(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """Return the gradient of the target's score with respect to these weights, float32 or float64.

        Raises
        ------
        NotCapturedError
            If the explainer did not declare `attention_gradients`.
        """

    def with_gradient(self, gradient: Tensor) -> "AttentionLayer":
        """Return this layer with the gradient of one target's score with respect to the attention's output."""
        bound = copy.copy(self)
        bound._gradient = gradient
        return bound

    @property
    def _declared_gradient(self) -> Tensor:
        if self._gradient is None:
            raise NotCapturedError(
                "this explainer's `needs` did not ask for attention gradients; declare `attention_gradients=True`"
            )
        return self._gradient

    def blocks(
        self, tokens: slice | None = None, size: int = ROW_BLOCK
    ) -> Iterator[tuple[slice, Float[Tensor, "B heads rows keys"]]]:
        """Yield the rows of the query `tokens` (default: all) in blocks of `size`, each with its slice of tokens."""
        for part in self.parts(tokens, size):
            yield part, self.rows(part.start, part.stop)

    def parts(self, tokens: slice | None = None, size: int = ROW_BLOCK) -> Iterator[slice]:
        """Yield slices of at most `size` query `tokens` (default: all)."""
        start, stop, _ = (tokens or slice(None)).indices(self.queries)
        for first in range(start, stop, size):
            yield slice(first, min(first + size, stop))

    def require_global(self, batch: int, method: str) -> None:
        """Require that every token of an image attends to all its tokens, without windows or reduced keys.

        Raises
        ------
        UnsuitableError
            If this is not the case. The message names `method`.
        """
        if self.batch != batch or self.queries != self.keys:
            raise UnsuitableError(
                f"{method} requires attention over all tokens of an image; this model has a layer with {self.queries} "
                f"queries and {self.keys} keys in {self.batch // batch or 1} windows per image; use {self.instead}"
            )

    @property
    def instead(self) -> str:
        """The alternative to a method over all tokens, for messages."""
        return "class-attention" if self.of_one_query else "a method for feature maps, such as grad-cam"


class DotProductAttention(AttentionLayer):
    """softmax(scale q k' + mask) v, with q [B, heads, N, d], k [B, heads, M, d] and v [B, heads, M, e].

    Parameters
    ----------
    shape
        (B, heads, N, M).
    make
        Returns the tensor "q", "k" or "v". Called on first use.
    split
        Converts the gradient of the function's output to the layout [B, heads, N, e] of A v.
    scale
        The scale of the logits. Default: 1 / sqrt(d).
    mask
        A boolean mask (true: attends) or an additive mask.
    causal
        Whether each token attends to itself and earlier tokens only.
    """

    def __init__(
        self,
        shape: tuple[int, int, int, int],
        make: Callable[[str], Tensor],
        split: Callable[[Tensor], Tensor],
        scale: float | None = None,
        mask: Tensor | None = None,
        causal: bool = False,
    ) -> None:
        self.batch, self.heads, self.queries, self.keys = shape
        self._make, self._split = cache(make), split
        self._scale, self._mask, self._causal = scale, mask, causal

    def rows(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """See `AttentionLayer.rows`."""
        q, k = self._make("q"), self._make("k")
        stop = self.queries if stop is None else stop
        scale = 1 / math.sqrt(q.shape[-1]) if self._scale is None else self._scale
        logits = wide(q[..., start:stop, :]) * scale @ wide(k).transpose(-2, -1)
        if self._causal:
            allowed = torch.ones(self.queries, self.keys, dtype=torch.bool, device=q.device).tril()
            logits = logits.masked_fill(~allowed[start:stop], -math.inf)
        if self._mask is not None:
            mask = self._mask[..., start:stop, :] if self._mask.shape[-2] > 1 else self._mask
            logits = logits.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else logits + mask
        return logits.softmax(-1)

    def gradient_rows(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """Return rows of dO v', see `AttentionLayer.gradient_rows`."""
        return self._output_gradient[..., start:stop, :] @ wide(self._make("v")).transpose(-2, -1)

    @cached_property
    def _output_gradient(self) -> Float[Tensor, "B heads queries e"]:
        return self._split(wide(self._declared_gradient))


class ExplicitAttention(AttentionLayer):
    """Attention weights [B, heads, N, M] that the model computes explicitly."""

    def __init__(self, weights: Float[Tensor, "B heads queries keys"]) -> None:
        self.batch, self.heads, self.queries, self.keys = weights.shape
        self._weights = weights

    def rows(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """See `AttentionLayer.rows`."""
        return wide(self._weights[..., start:stop, :])

    def gradient_rows(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """See `AttentionLayer.gradient_rows`."""
        return wide(self._declared_gradient.reshape(self._weights.shape)[..., start:stop, :])


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
        weight = wide(named["out_proj_weight"].detach())
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
