"""The attention matrix of one layer, whose rows and gradient rows are computed on request.

The gradient dA of the score follows from the gradient of the attention's output O = A v, as dA = dO v'.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import cache, cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from xai_core.errors import NotCapturedError, UnsuitableError
from xai_core.precision import at_least_float32
from xai_core.tensor_writes import version

ROW_BLOCK = 128
"""The number of attention rows that are computed at a time. It limits memory to [B, heads, 128, N]."""


class Reference:
    """A reference to a tensor of the model, which the model must not write to before the attention is computed."""

    def __init__(self, tensor: Tensor) -> None:
        self._tensor, self._version = tensor.detach(), version(tensor)

    @property
    def tensor(self) -> Tensor:
        """The tensor, without a graph.

        Raises
        ------
        UnsuitableError
            If the model has written to it.
        """
        if version(self._tensor) != self._version:
            raise UnsuitableError(
                "the model overwrites the inputs or the weights of an attention layer in place, so their values are "
                "lost. Replace the in-place operation, or use a method for feature maps, such as grad-cam"
            )
        return self._tensor


class Operands(NamedTuple):
    """The vectors of each attention head, float32 or float64: output = softmax(scale q k' + mask) v.

    Attributes
    ----------
    q, k, v
        The queries, keys and values.
    gradient
        The gradient of the target's score with respect to the output.
    """

    q: Float[Tensor, "B heads rows d"]
    k: Float[Tensor, "B heads keys d"]
    v: Float[Tensor, "B heads keys e"]
    gradient: Float[Tensor, "B heads rows e"]


class AttentionLayer(ABC):
    """The attention matrix of one layer for a batch, [B, heads, queries, keys], which is computed row by row.

    Attributes
    ----------
    batch
        B, the number of images or of windows.
    heads, queries, keys
        The other dimensions of the attention matrix.
    leading
        The dimensions before [queries, keys] in the model's own tensors. None if the function that computes attention
        separates the heads itself.
    """

    batch: int
    heads: int
    queries: int
    keys: int
    leading: tuple[int, ...] | None = None
    _gradient: Tensor | None = None
    _exposed: tuple[Tensor, ...] = ()
    """Tensors of the model whose views `rows` returns."""

    @property
    def of_one_query(self) -> bool:
        """Return whether one query, such as a separate class token, attends to several keys."""
        return self.queries == 1 < self.keys

    @abstractmethod
    def rows(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """Return the attention weights of query tokens `start` to `stop`, float32 or float64.

        Each row sums to one, or to zero if all its keys are masked. If the model computes the weights explicitly, these
        are the weights that it multiplies with the values.
        """

    @abstractmethod
    def gradient_rows(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """Return the gradient of the target's score with respect to these weights, float32 or float64.

        Raises
        ------
        NotCapturedError
            If the explainer did not declare `attention_gradients`.
        """

    def operands(self, start: int = 0, stop: int | None = None) -> Operands:
        """Return the vectors from which the outputs of query tokens `start` to `stop` are computed.

        Raises
        ------
        UnsuitableError
            If the model computes its attention weights explicitly, so that queries and keys are not known.
        NotCapturedError
            If the explainer did not declare `attention_gradients`.
        """
        raise unknown_operands()

    def logits(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """Return scale q k' + mask for query tokens `start` to `stop`, whose softmax is `rows`, float32 or float64.

        It is -inf where the mask excludes a key.

        Raises
        ------
        UnsuitableError
            If the model computes its attention weights explicitly, so that queries and keys are not known.
        """
        raise unknown_operands()

    def as_matrix(self, tensor: Tensor) -> Float[Tensor, "*leading queries n"]:
        """Convert the argument of `with_gradient` so that the model's leading dimensions come first."""
        return tensor

    def with_gradient(self, gradient: Tensor) -> "AttentionLayer":
        """Return this layer with the gradient of one target's score with respect to the attention's output."""
        bound = copy.copy(self)
        bound._gradient = gradient
        return bound

    @property
    def _declared_gradient(self) -> Tensor:
        if self._gradient is None:
            raise NotCapturedError(
                "this explainer's `needs` did not request attention gradients; declare `attention_gradients=True`"
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
            If some token does not attend to all tokens. The message names `method`.
        """
        if self.batch != batch or self.queries != self.keys:
            raise UnsuitableError(
                f"{method} requires attention over all tokens of an image. This model has a layer with {self.queries} "
                f"queries and {self.keys} keys in {self.batch // batch or 1} windows per image; use {self.instead}"
            )

    @property
    def instead(self) -> str:
        """Alternative that an error message suggests if the layer does not attend over all tokens."""
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
        logits = self.logits(start, stop)
        masked = logits.amax(-1, keepdim=True) == -math.inf  # the output of a query without keys is zero
        return logits.masked_fill(masked, 0).softmax(-1).masked_fill(masked, 0)

    def logits(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """See `AttentionLayer.logits`."""
        q, k = self._make("q"), self._make("k")
        stop = self.queries if stop is None else stop
        scale = 1 / math.sqrt(q.shape[-1]) if self._scale is None else self._scale
        logits = at_least_float32(q[..., start:stop, :]) * scale @ at_least_float32(k).transpose(-2, -1)
        if self._causal:
            allowed = torch.ones(self.queries, self.keys, dtype=torch.bool, device=q.device).tril()
            logits = logits.masked_fill(~allowed[start:stop], -math.inf)
        if self._mask is None:
            return logits
        mask = self._mask[..., start:stop, :] if self._mask.shape[-2] > 1 else self._mask
        return logits.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else logits + mask

    def gradient_rows(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """Return rows of dO v', see `AttentionLayer.gradient_rows`."""
        return self._output_gradient[..., start:stop, :] @ at_least_float32(self._make("v")).transpose(-2, -1)

    def operands(self, start: int = 0, stop: int | None = None) -> Operands:
        """See `AttentionLayer.operands`."""
        gradient = self._output_gradient[..., start:stop, :]
        q, k, v = (at_least_float32(self._make(name)) for name in "qkv")
        return Operands(q[..., start:stop, :], k, v, gradient)

    @cached_property
    def _output_gradient(self) -> Float[Tensor, "B heads queries e"]:
        return self._split(at_least_float32(self._declared_gradient))


class ExplicitAttention(AttentionLayer):
    """Attention weights that the model computes explicitly.

    Parameters
    ----------
    weights
        The weights that the model multiplies with the values.
    as_matrix
        Converts a tensor with the dimensions of `weights` to [*leading, N, M].
    arrange
        Converts the result to [B, heads, N, M].
    """

    def __init__(
        self, weights: Tensor, as_matrix: Callable[[Tensor], Tensor], arrange: Callable[[Tensor], Tensor]
    ) -> None:
        self._weights, self._as_matrix, self._arrange = Reference(weights), as_matrix, arrange
        self._exposed = (self._weights.tensor,)
        matrix = as_matrix(self._weights.tensor)
        self.leading = tuple(matrix.shape[:-2])
        self.batch, self.heads, self.queries, self.keys = arrange(matrix).shape

    def as_matrix(self, tensor: Tensor) -> Float[Tensor, "*leading queries n"]:
        """See `AttentionLayer.as_matrix`."""
        return self._as_matrix(tensor)

    def rows(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """See `AttentionLayer.rows`."""
        return self._arranged(self._weights.tensor, start, stop)

    def gradient_rows(self, start: int = 0, stop: int | None = None) -> Float[Tensor, "B heads rows keys"]:
        """See `AttentionLayer.gradient_rows`."""
        return self._arranged(self._declared_gradient, start, stop)

    def _arranged(self, tensor: Tensor, start: int, stop: int | None) -> Tensor:
        return at_least_float32(self._arrange(self._as_matrix(tensor)[..., start:stop, :]))


def unknown_operands() -> UnsuitableError:
    """Return the error for attention weights that the model computes explicitly."""
    return UnsuitableError(
        "the queries and keys of this model are not known, because it computes its attention weights explicitly. Use "
        "fused attention, such as `model.set_attn_implementation('sdpa')` in transformers, or generic-attention"
    )
