"""`torch.nn.functional.multi_head_attention_forward` as linear layers and attention, whose gradients may be changed."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from xai_core.plugin import UnsuitableError

SIGNATURE = inspect.signature(F.multi_head_attention_forward)
UNSUPPORTED = ("bias_k", "bias_v", "add_zero_attn", "key_padding_mask", "attn_mask", "static_k", "static_v")


def with_heads(
    args: Sequence[Any],
    kwargs: dict[str, Any],
    linear: Callable[[Tensor, Tensor, Tensor | None], Tensor],
    attention: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> tuple[Tensor, Tensor | None]:
    """Return the output of multi-head attention, and its weights if they are requested.

    Parameters
    ----------
    args, kwargs
        The arguments of the function.
    linear
        Computes a linear layer from inputs, weight and bias.
    attention
        Computes attention [B,heads,N,e] from queries, keys and values.

    Raises
    ------
    UnsuitableError
        If the attention has masks, or keys without a token.
    """
    named = SIGNATURE.bind(*args, **kwargs)
    named.apply_defaults()
    given = named.arguments
    present = [name for name in UNSUPPORTED if given[name] is not None and given[name] is not False]
    if present:
        raise UnsuitableError(
            f"relevance propagation has no rule for multi-head attention with {', '.join(present)}; use "
            "generic-attention"
        )
    weights = [given[f"{name}_proj_weight"] for name in "qkv"]
    if not given["use_separate_proj_weight"]:
        weights = given["in_proj_weight"].chunk(3)
    biases = [None] * 3 if given["in_proj_bias"] is None else given["in_proj_bias"].chunk(3)

    def heads(name: str, weight: Tensor, bias: Tensor | None) -> Tensor:
        tokens = given[name] if given["query"].ndim == 3 else given[name].unsqueeze(1)
        return linear(tokens, weight, bias).unflatten(-1, (given["num_heads"], -1)).permute(1, 2, 0, 3)

    q, k, v = (heads(*layer) for layer in zip(("query", "key", "value"), weights, biases, strict=True))
    mixed = attention(q, k, v).permute(2, 0, 1, 3).flatten(-2)
    output = linear(mixed, given["out_proj_weight"], given["out_proj_bias"]).view_as(given["query"])
    if not given["need_weights"]:
        return output, None
    matrices = (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)
    matrices = matrices.mean(1) if given["average_attn_weights"] else matrices
    return output, matrices if given["query"].ndim == 3 else matrices.squeeze(0)
