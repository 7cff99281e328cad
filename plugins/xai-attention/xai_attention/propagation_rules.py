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

from xai_core.plugin import UnsuitableError

ACTIVATIONS = frozenset({"relu", "relu6", "leaky_relu", "elu", "celu", "selu", "gelu", "silu", "mish"}) | {
    *("hardswish", "hardtanh", "tanh", "clamp", "clamp_min", "normalize"),
}
LAYERS = frozenset({"linear", "conv1d", "conv2d", "conv3d"})
CONSTANTS = frozenset({"sigmoid", "hardsigmoid", "sqrt", "rsqrt", "std", "var", "norm", "vector_norm"})
QUOTIENTS = frozenset({"div", "__truediv__", "true_divide"})
PRODUCTS = frozenset(
    {"mul", "__mul__", "__rmul__", "multiply", "matmul", "__matmul__", "bmm", "mm", "mv", "einsum"}
) | {
    *("baddbmm", "addbmm", "addmm", "addcmul", "dot", "inner", "outer", "tensordot", "bilinear"),
}
IN_PLACE: dict[str, Callable[..., Tensor]] = {"__imul__": torch.mul, "__itruediv__": torch.div}
"""Augmented assignments, whose results Python binds to the variable."""
ATTENTIONS = frozenset({"scaled_dot_product_attention", "multi_head_attention_forward"})
REJECTED = frozenset({"instance_norm", "mul_", "div_", "addcmul_"})


class PropagationRules(TorchFunctionMode):
    """Context in which the gradients of this thread follow the rules of AttnLRP.

    - Element-wise activation f: f(x) / x instead of the derivative (identity rule).
    - Product of two tensors that depend on the image: half of the gradient for each (uniform rule). Attention consists
      of two such products.
    - Linear layers and convolutions: the gradient (epsilon rule). With gamma > 0, contributions of the same sign as the
      output are multiplied by 1 + gamma (gamma rule).
    - Normalization and quotient: the denominator is a constant.
    - Sigmoid, as in gates: a constant, so that all relevance passes to the gated signal.
    - Softmax: its derivative. With `constant_attention`, its result is a constant, as in CP-LRP.

    Only the image may require gradients, so that products with weights are linear.
    """

    def __init__(self, gamma: float, constant_attention: bool) -> None:
        super().__init__()
        self._gamma = gamma
        self._constant_attention = constant_attention

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run a function, and change its gradient if a rule applies."""
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        dependent = _dependent([*args, *kwargs.values()])
        if not dependent or not torch.is_grad_enabled():
            return func(*args, **kwargs)
        if name in REJECTED:
            raise UnsuitableError(f"relevance propagation has no rule for {name}; use input-x-gradient")
        if name in IN_PLACE:
            func, name = IN_PLACE[name], IN_PLACE[name].__name__
        if name.removesuffix("_") in ACTIVATIONS:
            return _activation(func, *args, **kwargs)
        if name in LAYERS and self._gamma:
            return _gamma_rule(func, self._gamma, *args, **kwargs)
        if name in NORMALIZATIONS:
            return NORMALIZATIONS[name](*args, **kwargs)
        if name in CONSTANTS or (name == "softmax" and self._constant_attention):
            return func(*args, **kwargs).detach()
        if name in QUOTIENTS:
            return func(args[0], _constant(args[1]), *args[2:], **kwargs)
        if name in ATTENTIONS:
            query, key, value, *rest = args
            if self._constant_attention:
                return func(query.detach(), key.detach(), value, *rest, **kwargs)
            # The query and the key pass through both products, the value through one.
            return func(_scaled(query, 0.25), _scaled(key, 0.25), _scaled(value, 0.5), *rest, **kwargs)
        output = func(*args, **kwargs)
        return _scaled(output, 0.5) if name in PRODUCTS and dependent > 1 else output


def _dependent(args: Sequence[Any]) -> int:
    """Return the number of tensors that depend on the image."""
    flat = [leaf for arg in args for leaf in (arg if isinstance(arg, list | tuple) else [arg])]
    return sum(isinstance(leaf, Tensor) and leaf.requires_grad for leaf in flat)


def _constant(operand: Any) -> Any:
    return operand.detach() if isinstance(operand, Tensor) else operand


def _scaled(tensor: Float[Tensor, "*shape"], factor: float) -> Float[Tensor, "*shape"]:
    """Return the tensor with a gradient that is multiplied by a factor."""
    return tensor.detach() + factor * (tensor - tensor.detach())


def _activation(
    func: Any, inputs: Float[Tensor, "*shape"], *args: Any, inplace: bool = False, **kwargs: Any
) -> Float[Tensor, "*shape"]:
    before = inputs.clone()
    with torch.no_grad():
        output = func(inputs.clone(), *args, **kwargs)
        slope = (output / inputs).where(inputs != 0, 0)
    linear = output + slope * (before - before.detach())
    return inputs.copy_(linear) if inplace or func.__name__.endswith("_") else linear


def _gamma_rule(
    func: Any, gamma: float, inputs: Tensor, weight: Tensor, bias: Tensor | None = None, *args: Any, **kwargs: Any
) -> Tensor:
    """Return a layer's output, with the gradient z_j / f_j df_j/dx for the output z_j and the increased sum f_j.

    f_j adds up the contributions to z_j. Those with the sign of z_j are multiplied by 1 + gamma.
    """

    def increased(tensor: Tensor | None, sign: int) -> Tensor | None:
        return None if tensor is None else tensor + gamma * sign * (sign * tensor).relu()

    output = func(inputs, weight, bias, *args, **kwargs).detach()
    positive = inputs * (inputs > 0)
    negative = inputs - positive
    sums = [
        func(positive, increased(weight, sign), increased(bias, sign), *args, **kwargs)
        + func(negative, increased(weight, -sign), None, *args, **kwargs)
        for sign in (1, -1)
    ]
    total = torch.where(output > 0, *sums)
    return output + output * (total - total.detach()) / total.detach().where(total != 0, 1)


def _layer_norm(
    inputs: Float[Tensor, "*shape"],
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Float[Tensor, "*shape"]:
    dims = tuple(range(-len(normalized_shape), 0))
    centered = inputs - inputs.mean(dims, keepdim=True)
    return _affine(centered * (centered.square().mean(dims, keepdim=True) + eps).rsqrt().detach(), weight, bias)


def _group_norm(
    inputs: Float[Tensor, "B C *grid"],
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Float[Tensor, "B C *grid"]:
    grouped = inputs.unflatten(1, (num_groups, -1))
    normalized = _layer_norm(grouped, grouped.shape[2:], eps=eps).view_as(inputs)
    per_channel = [None if each is None else each.view(-1, *[1] * (inputs.ndim - 2)) for each in (weight, bias)]
    return _affine(normalized, *per_channel)


def _rms_norm(
    inputs: Float[Tensor, "*shape"],
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Float[Tensor, "*shape"]:
    dims = tuple(range(-len(normalized_shape), 0))
    eps = torch.finfo(inputs.dtype).eps if eps is None else eps
    return _affine(inputs * (inputs.square().mean(dims, keepdim=True) + eps).rsqrt().detach(), weight, None)


def _affine(inputs: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    scaled = inputs if weight is None else inputs * weight
    return scaled if bias is None else scaled + bias


NORMALIZATIONS: dict[str, Callable[..., Tensor]] = {
    "layer_norm": _layer_norm,
    "group_norm": _group_norm,
    "rms_norm": _rms_norm,
}
