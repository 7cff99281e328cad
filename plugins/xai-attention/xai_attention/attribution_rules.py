"""Rules of relevance propagation for transformer attribution, as changes of gradients."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._pytree import tree_map, tree_map_only

from xai_attention.attribution_functions import NormalizedSum, ThroughWeights, linearized
from xai_attention.function_rules import (
    ACTIVATIONS,
    MATRIX_PRODUCTS,
    OTHER_PRODUCTS,
    QUOTIENTS,
    SCALINGS,
    STATISTICS,
    SUMS_WITH_PRODUCT,
    FunctionRules,
    Rule,
    dependent,
    positional,
    quotient,
    rejected,
    statistic,
    writes,
)
from xai_attention.multi_head import with_heads
from xai_core.plugin import UnsuitableError

NORMALIZATIONS = frozenset({"layer_norm", "group_norm", "rms_norm", "batch_norm", "instance_norm"})
IDENTITIES = ACTIVATIONS | NORMALIZATIONS | {"softmax", "sigmoid", "sigmoid_", "hardsigmoid", "hardsigmoid_"}
SUMS = frozenset({"add", "__add__", "__radd__", "add_", "__iadd__"})
DIFFERENCES = frozenset({"sub", "__sub__", "__rsub__", "rsub", "subtract", "sub_", "__isub__"})
LAYERS = frozenset({"linear", *(f"conv{name}{n}d" for name in ("", "_transpose") for n in (1, 2, 3))})


class AttributionRules(FunctionRules):
    """Context in which the gradients of this thread follow the rules of transformer attribution, for one image.

    The relevance of a tensor is the tensor times its gradient.

    - Linear layer, convolution, matrix product with a constant: only positive contributions receive relevance, and
      biases receive none (z+ rule).
    - Activation, softmax, normalization, sum with a constant: relevance passes unchanged (identity rule).
    - Product of two tensors that depend on the image: half of the relevance for each.
    - Sum of two tensors that depend on the image: the sums of their relevance are proportional to the magnitudes of
      these sums before normalization.
    - Quotient: the denominator is a constant.

    Only the image may require gradients. Sums are over whole tensors, so the batch must contain one image.
    """

    def __init__(self) -> None:
        rules: dict[str, Rule] = {
            **dict.fromkeys(IDENTITIES | DIFFERENCES, _identity),
            **dict.fromkeys(SUMS, _sum),
            **dict.fromkeys(STATISTICS, statistic),
            **dict.fromkeys(QUOTIENTS, quotient),
            **dict.fromkeys(SCALINGS, _product),
            **dict.fromkeys(LAYERS, _layer),
            **dict.fromkeys(MATRIX_PRODUCTS, _matrix_product),
            **dict.fromkeys(SUMS_WITH_PRODUCT | OTHER_PRODUCTS, rejected),
            "cosine_similarity": _cosine_similarity,
            "scaled_dot_product_attention": _attention,
            "multi_head_attention_forward": _multi_head,
        }
        super().__init__(rules)


def _identity(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    inputs, *others = dependent((args, kwargs))
    if others:
        return func(*args, **kwargs)  # the operation has no rule, and is rejected if the score depends on it
    before = inputs.clone()
    constants = tree_map(lambda leaf: before.detach().clone() if leaf is inputs else leaf, (args, kwargs))
    output = func(*constants[0], **constants[1])
    result = linearized(before, output, (output / before.detach()).where(before != 0, 0))
    written = args[0] if args else inputs
    return written.copy_(result) if writes(func) or kwargs.get("inplace") else result


def _sum(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    if len(dependent((args, kwargs))) < 2:
        return _identity(func, args, kwargs)
    first, second = positional(args, kwargs, "input", "other")
    total = NormalizedSum.apply(*torch.broadcast_tensors(first.clone(), kwargs.get("alpha", 1) * second))
    return first.copy_(total) if writes(func) else total


def _product(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    if len(dependent((args, kwargs))) > 1 and writes(func):
        rejected(func, args, kwargs)  # the changed tensor would have the whole gradient
    output: Tensor = func(*args, **kwargs)
    if len(dependent((args, kwargs))) < 2:
        return output
    return linearized(output, output, 0.5)


def _layer(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    if len(dependent((args, kwargs))) > 1:
        rejected(func, args, kwargs)
    inputs, weight, *rest = positional(args, kwargs, "input", "weight", "bias")
    with torch.no_grad():
        output = func(inputs, weight, *rest, **kwargs)
    without_bias = (inputs, weight, None, *rest[1:])
    return _positive(func, output, without_bias, kwargs)


def _matrix_product(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    if len(dependent((args, kwargs))) > 1:
        return _product(func, args, kwargs)
    with torch.no_grad():
        output = func(*args, **kwargs)
    return _positive(func, output, args, kwargs)


def _cosine_similarity(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    first, second, *rest = positional(args, kwargs, "x1", "x2", "dim", "eps")
    dim, eps = rest[0] if rest else kwargs.get("dim", 1), kwargs.get("eps", 1e-8)
    norms = (first.norm(dim=dim) * second.norm(dim=dim)).clamp_min(eps).detach()

    def similarity(first: Tensor, second: Tensor) -> Tensor:
        return (first * second).sum(dim) / norms

    return _matrix_product(similarity, (first, second), {})


def _positive(func: Any, output: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    """Return the output z_j with the gradient z_j / t_j dt_j/dx, for the total t_j of the positive contributions."""
    positive = tree_map_only(Tensor, lambda tensor: tensor * (tensor > 0), (tuple(args), kwargs))
    negative = tree_map_only(Tensor, lambda tensor: tensor * (tensor < 0), (tuple(args), kwargs))
    total = func(*positive[0], **positive[1]) + func(*negative[0], **negative[1])
    return linearized(total, output, (output / total.detach()).where(total != 0, 0))


def _attention(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Tensor:
    query, key, value, *rest = positional(args, kwargs, "query", "key", "value")
    mask = rest[0] if rest else kwargs.get("attn_mask")
    if dependent((rest, kwargs)) or kwargs.get("enable_gqa") or kwargs.get("is_causal") or len(rest) > 2:
        raise UnsuitableError(
            "relevance propagation has no rule for attention masks that depend on the image, causal attention and "
            "grouped queries; use generic-attention"
        )
    output = func(query.detach(), key.detach(), value, *rest, **kwargs)
    halved = linearized(output, output, 0.5)
    scale = kwargs.get("scale")
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    through: Tensor = ThroughWeights.apply(halved, query, key, value.detach(), mask, scale)
    return through


def _multi_head(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
    def linear(inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return _layer(F.linear, (inputs, weight, bias), {})

    def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return _attention(F.scaled_dot_product_attention, (query, key, value), {})

    return with_heads(args, kwargs, linear, attention)
