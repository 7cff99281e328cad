"""Rules of layer-wise relevance propagation, as changes of gradients.

In a network of linear operations, the relevance of a tensor is the tensor times the gradient of the score. The rules
make other operations linear for this purpose: their values stay the same, and their gradients change.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from xai_attention.propagated_norms import NORMALIZATIONS
from xai_core.plugin import UnsuitableError

ACTIVATIONS = frozenset({"relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "hardswish"}) | {
    *("hardtanh", "tanh", "clamp", "clamp_min", "normalize", "relu_", "leaky_relu_", "elu_", "clamp_", "tanh_"),
}
LAYERS = frozenset({"linear", "conv1d", "conv2d", "conv3d"})
STATISTICS = frozenset({"sqrt", "rsqrt", "std", "var", "norm", "vector_norm", "linalg_vector_norm", "linalg_norm"})
QUOTIENTS = frozenset({"div", "__truediv__", "true_divide", "__itruediv__", "div_"})
PRODUCTS = frozenset(
    {"mul", "__mul__", "__rmul__", "multiply", "matmul", "__matmul__", "bmm", "mm", "mv", "einsum"}
) | {
    *("baddbmm", "addbmm", "addmm", "addcmul", "dot", "inner", "outer", "tensordot", "bilinear", "mul_", "__imul__"),
}
ATTENTIONS = frozenset({"scaled_dot_product_attention", "multi_head_attention_forward"})
REJECTED = frozenset({"instance_norm"})
GATES = ("Sigmoid", "Hardsigmoid")
RESHAPES = ("View", "UnsafeView", "Unsqueeze", "Squeeze", "Expand", "Permute", "Transpose", "T", "Clone", "Slice")

Rule = Callable[[Any, Sequence[Any], dict[str, Any]], Any]
"""Receives a function, its arguments and its keyword arguments. Returns the result with a changed gradient."""


class PropagationRules(TorchFunctionMode):
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
        super().__init__()
        self._gamma = gamma
        self._gates = (*GATES, "Softmax") if constant_attention else GATES
        self._rules: dict[str, Rule] = {
            **dict.fromkeys(ACTIVATIONS, _activation),
            **dict.fromkeys(LAYERS, self._gamma_rule if gamma else _unchanged),
            **dict.fromkeys(NORMALIZATIONS, _normalization),
            **dict.fromkeys(STATISTICS, _statistic),
            **dict.fromkeys(QUOTIENTS, _quotient),
            **dict.fromkeys(PRODUCTS, self._product),
            **dict.fromkeys(ATTENTIONS, _attention_of_values if constant_attention else _attention),
            **dict.fromkeys(REJECTED, _rejected),
        }

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a function, and change its gradient if a rule applies."""
        kwargs = dict(kwargs or {})
        rule = self._rules.get(getattr(func, "__name__", ""), _unchanged)
        if not torch.is_grad_enabled() or not _dependent((args, kwargs)):
            rule = _unchanged
        return rule(func, args, kwargs)

    def _product(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        dependent = _dependent(args)
        gates = [tensor for tensor in dependent if _origin(tensor).startswith(self._gates)]
        if len(gates) < len(dependent):
            args = tree_map(lambda leaf: leaf.detach() if any(leaf is gate for gate in gates) else leaf, args)
        output = func(*args, **kwargs)
        if len(_dependent(args)) < 2:
            return output
        if func.__name__.endswith("_") and not func.__name__.startswith("__"):
            return _rejected(func, args, kwargs)  # the changed tensor would have the whole gradient
        return _scaled(output, 0.5)

    def _gamma_rule(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
        return _increased(func, self._gamma, *_positional(args, kwargs, "input", "weight", "bias"), **kwargs)


def _unchanged(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    return func(*args, **kwargs)


def _rejected(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    raise UnsuitableError(f"relevance propagation has no rule for {func.__name__}; use input-x-gradient")


def _positional(args: Sequence[Any], kwargs: dict[str, Any], *names: str) -> list[Any]:
    """Return the arguments, followed by the keyword arguments with the next of these names."""
    return [*args, *(kwargs.pop(name) for name in names[len(args) :] if name in kwargs)]


def _activation(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    inputs, *rest = _positional(args, kwargs, "input")
    in_place = kwargs.pop("inplace", False) or func.__name__.endswith("_")
    before = inputs.clone()
    with torch.no_grad():
        output = func(inputs.clone(), *rest, **kwargs)
        slope = (output / inputs).where(inputs != 0, 0)
    linear: Tensor = output + slope * (before - before.detach())
    return inputs.copy_(linear) if in_place else linear


def _normalization(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    return NORMALIZATIONS[func.__name__](*_positional(args, kwargs, "input"), **kwargs)


def _statistic(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    return func(*args, **kwargs).detach()


def _quotient(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    numerator, denominator, *rest = _positional(args, kwargs, "input", "other")
    constant = denominator.detach() if isinstance(denominator, Tensor) else denominator
    return func(numerator, constant, *rest, **kwargs)


def _attention(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    query, key, value, *rest = _positional(args, kwargs, "query", "key", "value")
    # The query and the key pass through both products, the value through one.
    return func(_scaled(query, 0.25), _scaled(key, 0.25), _scaled(value, 0.5), *rest, **kwargs)


def _attention_of_values(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    query, key, value, *rest = _positional(args, kwargs, "query", "key", "value")
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


def _scaled(tensor: Float[Tensor, "*shape"], factor: float) -> Float[Tensor, "*shape"]:
    """Return the tensor with a gradient that is multiplied by a factor."""
    return tensor.detach() + factor * (tensor - tensor.detach())


def _dependent(args: Any) -> list[Tensor]:
    """Return the tensors that depend on the image."""
    return [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor) and leaf.requires_grad]


def _origin(tensor: Tensor) -> str:
    """Return the name of the operation that computed a tensor, before it was reshaped."""
    node = tensor.grad_fn
    while node is not None and node.name().startswith(RESHAPES):
        node = node.next_functions[0][0]
    return "" if node is None else node.name()
