"""Base of the contexts that change gradients, so that the gradient times the tensor is a tensor's relevance."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from xai_core.plugin import UnsuitableError

ACTIVATIONS = frozenset({"relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish", "hardswish"}) | {
    *("hardtanh", "tanh", "clamp", "clamp_min", "normalize", "relu_", "leaky_relu_", "elu_", "clamp_", "tanh_"),
}
STATISTICS = frozenset({"sqrt", "rsqrt", "std", "var", "norm", "vector_norm", "linalg_vector_norm", "linalg_norm"})
QUOTIENTS = frozenset({"div", "__truediv__", "true_divide", "__itruediv__", "div_"})
SCALINGS = frozenset({"mul", "__mul__", "__rmul__", "multiply", "mul_", "__imul__"})
MATRIX_PRODUCTS = frozenset(
    {"matmul", "__matmul__", "__rmatmul__", "bmm", "mm", "mv", "einsum", "dot", "inner", "outer"}
)
SUMS_WITH_PRODUCT = frozenset({"baddbmm", "addbmm", "addmm", "addmv", "addcmul"})
OTHER_PRODUCTS = frozenset({"tensordot", "bilinear"})

Rule = Callable[[Any, Sequence[Any], dict[str, Any]], Any]
"""Receives a function, its arguments and its keyword arguments. Returns the result with a changed gradient."""


class FunctionRules(TorchFunctionMode):
    """Context in which the gradients of this thread follow rules, by the names of functions.

    Only the image may require gradients, so that a rule can distinguish it from parameters.
    """

    def __init__(self, rules: Mapping[str, Rule]) -> None:
        super().__init__()
        self._rules = rules

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a function, and change its gradient if a rule applies."""
        kwargs = dict(kwargs or {})
        rule = self._rules.get(getattr(func, "__name__", ""), unchanged)
        if not torch.is_grad_enabled() or not dependent((args, kwargs)):
            rule = unchanged
        return rule(func, args, kwargs)


def unchanged(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Keep the gradient."""
    return func(*args, **kwargs)


def rejected(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Raise `UnsuitableError`."""
    raise UnsuitableError(f"relevance propagation has no rule for {func.__name__}; use input-x-gradient")


def statistic(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Treat the result as a constant."""
    return func(*args, **kwargs).detach()


def quotient(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Treat the denominator as a constant."""
    numerator, denominator, *rest = positional(args, kwargs, "input", "other")
    constant = denominator.detach() if isinstance(denominator, Tensor) else denominator
    return func(numerator, constant, *rest, **kwargs)


def positional(args: Sequence[Any], kwargs: dict[str, Any], *names: str) -> list[Any]:
    """Return the arguments, followed by the keyword arguments with the next of these names."""
    return [*args, *(kwargs.pop(name) for name in names[len(args) :] if name in kwargs)]


def scaled(tensor: Float[Tensor, "*shape"], factor: float) -> Float[Tensor, "*shape"]:
    """Return the tensor with a gradient that is multiplied by a factor."""
    return tensor.detach() + factor * (tensor - tensor.detach())


def writes(func: Any) -> bool:
    """Return whether a function writes its result to its first argument."""
    name: str = func.__name__
    return name.startswith("__i") or (name.endswith("_") and not name.startswith("__"))


def dependent(args: Any) -> list[Tensor]:
    """Return the tensors that depend on the image."""
    return [leaf for leaf in tree_leaves(args) if isinstance(leaf, Tensor) and leaf.requires_grad]
