"""The attention matrix of one layer, whose rows and gradient rows are computed on request.

The gradient dA of the score follows from the gradient of the attention's output O = A v, as dA = dO v'.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cache, cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from xai_core.errors import NotCapturedError, UnsuitableError
from xai_core.targets.measures import at_least_float32

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
        logits = at_least_float32(q[..., start:stop, :]) * scale @ at_least_float32(k).transpose(-2, -1)
        if self._causal:
            allowed = torch.ones(self.queries, self.keys, dtype=torch.bool, device=q.device).tril()
            logits = logits.masked_fill(~allowed[start:stop], -math.inf)
        if self._mask is not None:
            mask = self._mask[..., start:stop, :] if self._mask.shape[-2] > 1 else self._mask
            logits = logits.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else logits + mask
        return logits.softmax(-1)

    def gradient_rows(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """Return rows of dO v', see `AttentionLayer.gradient_rows`."""
        return self._output_gradient[..., start:stop, :] @ at_least_float32(self._make("v")).transpose(-2, -1)

    @cached_property
    def _output_gradient(self) -> Float[Tensor, "B heads queries e"]:
        return self._split(at_least_float32(self._declared_gradient))


class ExplicitAttention(AttentionLayer):
    """Attention weights [B, heads, N, M] that the model computes explicitly."""

    def __init__(self, weights: Float[Tensor, "B heads queries keys"]) -> None:
        self.batch, self.heads, self.queries, self.keys = weights.shape
        self._weights = weights

    def rows(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """See `AttentionLayer.rows`."""
        return at_least_float32(self._weights[..., start:stop, :])

    def gradient_rows(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """See `AttentionLayer.gradient_rows`."""
        return at_least_float32(self._declared_gradient.reshape(self._weights.shape)[..., start:stop, :])
