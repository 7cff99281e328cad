"""Rules of layer-wise relevance propagation, as changes of gradients.

In a network of linear operations, the relevance of a tensor is the tensor times the gradient of the score. The rules
make other operations linear for this purpose: their values stay the same, and their gradients change.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from xai_attention.function_rules import (
    ACTIVATIONS,
    MATRIX_PRODUCTS,
    OTHER_PRODUCTS,
    QUOTIENTS,
    SCALINGS,
    STATISTICS,
    SUMS_WITH_PRODUCT,
    FunctionRules,
    dependent,
    positional,
    quotient,
    rejected,
    scaled,
    statistic,
    unchanged,
)
from xai_attention.propagated_norms import NORMALIZATIONS

LAYERS = frozenset({"linear", "conv1d", "conv2d", "conv3d"})
PRODUCTS = SCALINGS | MATRIX_PRODUCTS | SUMS_WITH_PRODUCT | OTHER_PRODUCTS
ATTENTIONS = frozenset({"scaled_dot_product_attention", "multi_head_attention_forward"})
REJECTED = frozenset({"instance_norm"})
GATES = ("Sigmoid", "Hardsigmoid")
RESHAPES = ("View", "UnsafeView", "Unsqueeze", "Squeeze", "Expand", "Permute", "Transpose", "T", "Clone", "Slice")


class PropagationRules(FunctionRules):
    """Context in which the gradients of this thread follow the rules of AttnLRP.

    - Element-wise activation f: f(x) / x instead of the derivative (identity rule).
    - Linear layers and convolutions: the gradient (epsilon rule). With gamma > 0, contributions of the same sign as the
      output are multiplied by 1 + gamma (gamma rule).
    - Product of two tensors that depend on the image: half of the gradient for each (uniform rule). Attention consists
      of two such products.
    - Product with a gate, the result of a sigmoid: the gate is a constant, and the gated signal receives all relevance.
      With `constant_attention`, the result of a softmax is a gate too, as in CP-LRP.
    - Normalization and quotient: the denominator is a constant.
    - Softmax, and sigmoid as the output: the derivative.

    Only the image may require gradients, so that products with weights are linear.
    """

    def __init__(self, gamma: float, constant_attention: bool) -> None:
        self._gamma = gamma
        self._gates = (*GATES, "Softmax") if constant_attention else GATES
        super().__init__(
            {
                **dict.fromkeys(ACTIVATIONS, _activation),
                **dict.fromkeys(LAYERS, self._gamma_rule if gamma else unchanged),
                **dict.fromkeys(NORMALIZATIONS, _normalization),
                **dict.fromkeys(STATISTICS, statistic),
                **dict.fromkeys(QUOTIENTS, quotient),
                **dict.fromkeys(PRODUCTS, self._product),
                **dict.fromkeys(ATTENTIONS, _attention_of_values if constant_attention else _attention),
                **dict.fromkeys(REJECTED, rejected),
            }
        )

    def _product(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        factors = dependent(args)
        gates = [tensor for tensor in factors if _origin(tensor).startswith(self._gates)]
        if len(gates) < len(factors):
            args = tree_map(lambda leaf: leaf.detach() if any(leaf is gate for gate in gates) else leaf, args)
        output = func(*args, **kwargs)
        if len(dependent(args)) < 2:
            return output
        if func.__name__.endswith("_") and not func.__name__.startswith("__"):
            return rejected(func, args, kwargs)  # the changed tensor would have the whole gradient
        return scaled(output, 0.5)

    def _gamma_rule(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
        return _increased(func, self._gamma, *positional(args, kwargs, "input", "weight", "bias"), **kwargs)


def _activation(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    inputs, *rest = positional(args, kwargs, "input")
    in_place = kwargs.pop("inplace", False) or func.__name__.endswith("_")
    before = inputs.clone()
    with torch.no_grad():
        output = func(inputs.clone(), *rest, **kwargs)
        slope = (output / inputs).where(inputs != 0, 0)
    linear: Tensor = output + slope * (before - before.detach())
    return inputs.copy_(linear) if in_place else linear


def _normalization(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    return NORMALIZATIONS[func.__name__](*positional(args, kwargs, "input"), **kwargs)


def _attention(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    query, key, value, *rest = positional(args, kwargs, "query", "key", "value")
    # The query and the key pass through both products, the value through one.
    return func(scaled(query, 0.25), scaled(key, 0.25), scaled(value, 0.5), *rest, **kwargs)


def _attention_of_values(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    query, key, value, *rest = positional(args, kwargs, "query", "key", "value")
    return func(query.detach(), key.detach(), value, *rest, **kwargs)


def _increased(
    func: Any, gamma: float, inputs: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
) -> Tensor:
    """Return a layer's output, with the gradient z_j / f_j df_j/dx for the output z_j and the increased sum f_j.

    f_j adds up the contributions to z_j. Contributions with the sign of z_j are multiplied by 1 + gamma.
    """

    def increased(tensor: Tensor | None, sign: int) -> Tensor | None:
        return None if tensor is None else tensor + gamma * sign * (sign * tensor).relu()

    output = func(inputs, weight, bias, *args, **kwargs).detach()
    positive = inputs * (inputs > 0)
    negative = inputs - positive
    more, less = (
        func(positive, increased(weight, sign), increased(bias, sign), *args, **kwargs)
        + func(negative, increased(weight, -sign), None, *args, **kwargs)
        for sign in (1, -1)
    )
    total = torch.where(output > 0, more, less)
    return output + output * (total - total.detach()) / total.detach().where(total != 0, 1)


def _origin(tensor: Tensor) -> str:
    """Return the name of the operation that computed a tensor, before it was reshaped."""
    node = tensor.grad_fn
    while node is not None and node.name().startswith(RESHAPES):
        node = node.next_functions[0][0]
    return "" if node is None else node.name()
