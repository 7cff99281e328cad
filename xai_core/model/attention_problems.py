"""Requirements that the attention of a model does not meet, as texts for error messages."""

from collections.abc import Sequence

from xai_core.model.attention_call import FEATURE_MAPS, AttentionCall
from xai_core.model.autograd_graph import INSTEAD
from xai_core.model.layouts import Features


def no_rows(last: Features | None) -> str:
    """Return the error text for a model whose classification head reads no tokens."""
    if last is None:
        return (
            "the scores of this model do not depend on a single sequence of tokens with known image locations, so no "
            "attention row corresponds to the scores. Limit the method to one part of the model with `module`, or use "
            f"{FEATURE_MAPS}, with a layer"
        )
    return (
        "the classification head of this model reads a feature map instead of tokens, so no attention row corresponds "
        f"to the output; use {FEATURE_MAPS}"
    )


def no_graph() -> str:
    """Return the error text for a score without gradients."""
    return (
        "the gradient of the target's score, to find the attention layers that affect the score. This score has no "
        f"gradient (no_grad, detach, int8 layers); use {INSTEAD}"
    )


def not_global(call: AttentionCall) -> str:
    """Return the error text if some token does not attend to all tokens of its image, or ""."""
    if call.windows == 1 and call.queries == call.keys:
        return ""
    return (
        f"attention over all tokens of an image. This model has a layer with {call.queries} queries and {call.keys} "
        f"keys in {call.windows} windows per image; use {call.instead}"
    )


def unequal_tokens(calls: Sequence[AttentionCall]) -> str:
    """Return the error text if the number of tokens changes between layers, or ""."""
    tokens = calls[-1].keys
    other = next((call.keys for call in calls if call.keys != tokens), None)
    if other is None:
        return ""
    return f"equal numbers of tokens in all layers, but this model has {other} and {tokens}; use {calls[-1].instead}"


def other_tokens(call: AttentionCall, last: Features) -> str:
    """Return the error text if a layer and the classification head have different numbers of tokens, or ""."""
    if call.keys == last.count:
        return ""
    return (
        f"attention over the tokens that the classification head reads. In this model, the head reads the {last.count} "
        f"tokens of {last.layer!r}, but {call} is over {call.keys} tokens; use {FEATURE_MAPS}"
    )


def not_before(call: AttentionCall, last: Features) -> str:
    """Return the error text for a layer that does not lie before the last tokens."""
    return (
        f"that attention precedes {last.layer!r}, which returns the last patch tokens on every path to the scores. In "
        f"this model, {call} follows these tokens. Either it attends to other tokens, such as queries, or the "
        f"classification head reads the tokens of several transformer blocks. Use {FEATURE_MAPS}"
    )


def several_sequences(call: AttentionCall, last: Features) -> str:
    """Return the error text for a model whose scores also depend on something other than the last tokens."""
    return (
        f"that the scores depend on a single sequence of tokens. In this model, {call} also affects the scores on "
        f"paths that bypass the tokens of {last.layer!r}. Possible causes are an ensemble, several passes, or a "
        "classification head that reads several transformer blocks. Limit the method to one part with `module`, or use "
        f"{FEATURE_MAPS}"
    )


def no_chain(calls: Sequence[AttentionCall]) -> str:
    """Return the error text for layers that are neither parallel nor follow one another."""
    names = ", ".join(dict.fromkeys(repr(call.module) for call in calls[-8:]))
    return (
        "attention layers that follow one another, each over the tokens that the previous layer returns. In this "
        f"model, the tokens also take other paths around several of these layers: {names}. Limit the method to one "
        f"part with `module`, or use {FEATURE_MAPS}"
    )


def negative(call: AttentionCall) -> str:
    """Return the error text for a layer with negative weights."""
    return (
        f"nonnegative attention weights, but {call} has negative weights, because the model changes them after the "
        f"softmax; use generic-attention, or {FEATURE_MAPS}"
    )


def not_kept(call: AttentionCall) -> str:
    """Return the error text for a layer whose tokens move or mix before the classification head reads them."""
    return (
        "an attention layer whose tokens keep their position until the classification head reads them. The tokens of "
        f"{call} are mixed or moved afterwards, or the head also reads other tokens. Choose another layer or "
        f"`module`, or use {FEATURE_MAPS}"
    )


def unseen_mixing(after: str) -> str:
    """Return the error text for a model in which operations other than the observed attention mix tokens."""
    return (
        "that only observed attention layers mix tokens. In this model, other operations after "
        f"{after} mix or move tokens; use {FEATURE_MAPS}"
    )
