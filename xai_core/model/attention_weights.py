"""Follows attention weights from the softmax over keys to the product with the values.

A model may change the weights in between: in place, by a mask, or by a combination of heads. Only the product mixes the
tokens, so its operand contains the relevant weights.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

_SOFTMAX = frozenset({F.softmax, torch.softmax, Tensor.softmax, torch.special.softmax})
_MATMUL = frozenset({torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, Tensor.bmm})


class TokensAt(NamedTuple):
    """A tensor, or an output that contains one, and the index of its token dimension."""

    value: Any
    dim: int


@dataclass(frozen=True)
class WeightsProduct:
    """A product of attention weights and values.

    Attributes
    ----------
    operand
        The operand with the weights.
    weights
        The same weights, expanded to all images and attention heads.
    as_matrix
        Converts a tensor with the dimensions of `weights` to [..., queries, keys].
    run
        Computes the product with other weights of the same shape.
    values
        The values, and their dimension of keys.
    queries
        The dimension of queries in the product.
    """

    operand: Tensor
    weights: Tensor
    as_matrix: Callable[[Tensor], Tensor]
    run: Callable[[Tensor], Tensor]
    values: TokensAt
    queries: int


class WeightsFollower:
    """Recognizes products with attention weights among the functions that a model calls."""

    def __init__(self) -> None:
        self._keys: WeakTensorKeyDictionary = WeakTensorKeyDictionary()  # keys of each tensor computed from a softmax

    def product(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> WeightsProduct | None:
        """Return the product with attention weights that a function is about to compute, or None."""
        if not self._keys:
            return None
        if func in _MATMUL:
            operands = [*args, *kwargs.values()][:2]
            return next((_matmul(func, operands, i, keys) for i, keys in self._known(operands)), None)
        if func is torch.einsum and args and isinstance(args[0], str):
            operands = [*args[1]] if len(args) == 2 and not isinstance(args[1], Tensor) else [*args[1:]]
            return next((_einsum(args[0], operands, i, keys) for i, keys in self._known(operands)), None)
        return None

    def follow(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], result: Any) -> Any:
        """Note a result that contains attention weights. Return it, or a copy that the model may write to."""
        if not isinstance(result, Tensor):
            return result
        if func in _SOFTMAX:
            if not _is_over_keys(result, *args, **kwargs):
                return result
            result = result.clone() if result.requires_grad else result  # autograd needs the softmax itself
            self._keys[result] = result.shape[-1]
        elif self._keys:
            sources = [source for source in _tensors([*args, *kwargs.values()]) if source.numel() == result.numel()]
            for _, keys in self._known(sources):
                self._keys[result] = keys
        return result

    def _known(self, values: Sequence[Any]) -> Iterator[tuple[int, int]]:
        """Yield the indices of tensors with attention weights, and their number of keys."""
        for i, value in enumerate(values):
            if isinstance(value, Tensor) and value in self._keys:
                yield i, self._keys[value]


def _is_over_keys(result: Tensor, input: Tensor, dim: int = -1, *_: Any, **__: Any) -> bool:
    """Return whether a softmax is over keys: [..., heads, N, M], or [B * heads, N, N]."""
    is_last = dim in (-1, result.ndim - 1)
    is_square = result.ndim == 3 and result.shape[-1] == result.shape[-2]
    return is_last and result.shape[-1] > 1 and (result.ndim > 3 or is_square)


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, tuple | list):
            yield from (item for item in value if isinstance(item, Tensor))


def _matmul(func: Any, operands: list[Any], i: int, keys: int) -> WeightsProduct | None:
    """Return the product A v, or v' A' with transposed weights, or None if it is over other dimensions."""
    operand, values = operands[i], operands[1 - i]
    if not isinstance(values, Tensor) or values.ndim < 2 or operand.shape[-2 if i else -1] != keys:
        return None  # the product is over other dimensions, such as the heads
    leading = torch.broadcast_shapes(operand.shape[:-2], values.shape[:-2])
    weights = operand if leading == operand.shape[:-2] else operand.expand(*leading, *operand.shape[-2:])

    def run(weights: Tensor) -> Tensor:
        product = func(*[weights if j == i else operand for j, operand in enumerate(operands)])
        assert isinstance(product, Tensor)
        return product

    as_matrix: Callable[[Tensor], Tensor] = (lambda tensor: tensor.mT) if i else (lambda tensor: tensor)
    dim = -1 if i else -2
    return WeightsProduct(operand, weights, as_matrix, run, TokensAt(values, dim), dim)


def _einsum(equation: str, operands: list[Any], i: int, keys: int) -> WeightsProduct | None:
    """Return a product over the keys, whose subscript is in both operands and not in the output, or None."""
    inputs, arrow, output = equation.replace(" ", "").replace("...", ".").partition("->")
    terms = inputs.split(",")
    if len(operands) != 2 or not arrow:
        return None
    own, other = terms[i], terms[1 - i]
    contracted = [letter for letter in own if letter in other and letter not in output]
    queries = [letter for letter in own if letter in output and letter not in other]
    if len(contracted) != 1 or len(queries) != 1 or "." in queries:
        return None
    ends = queries[0] + contracted[0]
    leading = "".join(letter for letter in own if letter not in ends)
    to_matrix = f"{own}->{leading}{ends}".replace(".", "...")
    if operands[i].shape[_dimension(own, contracted[0])] != keys:
        return None  # the product is over other dimensions, such as the heads

    def run(weights: Tensor) -> Tensor:
        return torch.einsum(equation, *[weights if j == i else operand for j, operand in enumerate(operands)])

    def as_matrix(tensor: Tensor) -> Tensor:
        return torch.einsum(to_matrix, tensor)

    values = TokensAt(operands[1 - i], _dimension(other, contracted[0]))
    return WeightsProduct(operands[i], operands[i], as_matrix, run, values, _dimension(output, queries[0]))


def _dimension(term: str, letter: str) -> int:
    """Return the dimension of a subscript, from the end if it follows an ellipsis."""
    index = term.index(letter)
    return index - len(term) if "." in term[:index] else index
