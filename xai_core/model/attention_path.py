"""Attention on the path from the images to the last tokens: its order, and the rows that affect the scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from xai_core.errors import LayerError, UnsuitableError
from xai_core.model.attention import AttentionLayer
from xai_core.model.autograd_graph import INSTEAD
from xai_core.model.head_layout import HeadLayout
from xai_core.model.layouts import Features
from xai_core.model.locations import Locations

FEATURE_MAPS = "a method for feature maps, such as grad-cam"


@dataclass(frozen=True)
class AttentionCall:
    """One attention of each forward pass.

    Attributes
    ----------
    module
        The name of the module that computes it. It is empty if this is the model itself.
    around
        The names of the modules around it, outermost first.
    queries, keys, windows
        The number of queries and keys of a window, and the number of windows per image.
    from_images
        Whether it depends on the images.
    on_path
        Whether it lies between the images and the scores.
    is_plain
        Whether its dimensions are [B, heads, N, M], or do not contain images.
    layout
        The order of its windows and heads. None for the usual order.
    is_signed
        Whether some weights are negative, because the model changes them after the softmax.
    key_locations
        If it has one query, the locations of its keys, or None if they are not known.
    """

    module: str
    around: tuple[str, ...]
    queries: int
    keys: int
    windows: int
    from_images: bool
    on_path: bool
    is_plain: bool
    layout: HeadLayout | None
    is_signed: bool = False
    key_locations: Locations | None = None

    def is_in(self, module: str) -> bool:
        """Return whether a module, or another module in it, computes this attention. The name "" is the model."""
        return not module or module in self.around

    def __str__(self) -> str:
        return f"the attention in {self.module!r}" if self.module else "the attention of the model itself"

    def layout_of_batches(self, one: Float[Tensor, "*leading n"], two: Float[Tensor, "*leading2 n"]) -> HeadLayout:
        """Return the layout with the dimension of the images. See `HeadLayout.with_images`.

        Raises
        ------
        UnsuitableError
            If the dimension of the images cannot be distinguished from windows and heads.
        """
        layout = (self.layout or HeadLayout.of(one.shape[:-1], 1)).with_images(one, two)
        if layout is None:
            raise UnsuitableError(
                f"the batch dimension of {self} cannot be distinguished from the dimensions of windows and heads; pass "
                f"one image at a time, or use {FEATURE_MAPS}"
            )
        return layout

    @property
    def of_one_query(self) -> bool:
        """Return whether one query, such as a separate class token, attends to several keys."""
        return self.queries == 1 < self.keys

    @property
    def instead(self) -> str:
        """Alternative that an error message suggests if the layer does not attend over all tokens."""
        return f"class-attention, or {FEATURE_MAPS}" if self.of_one_query else FEATURE_MAPS


@dataclass(frozen=True)
class AttentionPath:
    """Attention layers on the path from the images to the scores, in the whole model or in one module.

    Attributes
    ----------
    calls
        The attention layers by index, in order of execution. The index counts all attention layers of a forward pass.
    features
        The layout of the last tokens.
    readout
        The weight of each of these tokens in the scores. The weights sum to one.
    stages
        Stages in order of execution. A stage is a tuple of the indices of one layer, or of several parallel layers.
        The tuple is empty if there is a `problem`.
    kept
        The layers whose output tokens keep their position until the last tokens.
    problem
        Why the attention matrices of the layers cannot be multiplied: the requirement that is not met, with advice. ""
        if they can be multiplied.
    pooling
        The index of an attention with which one query pools the last tokens, as in SigLIP. The scores depend on the
        tokens only through it, and `stages` does not contain it. None if there is no such attention.
    """

    calls: Mapping[int, AttentionCall]
    features: Features
    readout: tuple[float, ...]
    stages: tuple[tuple[int, ...], ...]
    kept: frozenset[int]
    problem: str
    pooling: int | None = None

    @property
    def rows(self) -> slice:
        """The range of the tokens that the classification head reads."""
        if self.pooling is not None:
            return slice(0, self.features.count)
        read = [token for token, weight in enumerate(self.readout) if weight]
        return slice(read[0], read[-1] + 1)

    def chain(self, method: str, signed: bool = True, pooled: bool = False) -> tuple[tuple[int, ...], ...]:
        """Return `stages`, after checking that the attention matrices of all layers can be multiplied.

        Parameters
        ----------
        method
            Name of the method, for the error message.
        signed
            Whether the method is defined for negative attention weights.
        pooled
            Whether the method is defined for a `pooling`.

        Raises
        ------
        UnsuitableError
            If the matrices cannot be multiplied.
        """
        problem = self.problem or next((negative(call) for call in self.calls.values() if call.is_signed), "")
        if problem and (self.problem or not signed):
            raise UnsuitableError(f"{method} requires {problem}")
        if self.pooling is not None and not pooled:
            raise UnsuitableError(f"{method} requires {not_global(self.calls[self.pooling])}")
        return self.stages

    def layer(self, index: int, method: str) -> int:
        """Return the index of a layer among all attention layers.

        Some methods show the rows of the tokens that the classification head reads, so the layer must have these rows.
        The argument `index` counts only the layers in `calls`. Negative values count from the end.

        Raises
        ------
        LayerError
            If the index is out of range.
        UnsuitableError
            If the rows of the layer do not belong to the tokens that the classification head reads. The message names
            `method`.
        """
        numbers = [*self.calls]
        if not -len(numbers) <= index < len(numbers):
            raise LayerError(f"attention layer {index} is out of range; the model has {len(numbers)} such layers")
        number = numbers[index]
        problem = not_global(self.calls[number]) or other_tokens(self.calls[number], self.features)
        if not problem and number not in self.kept:
            problem = self.problem if self.problem == no_graph() else not_kept(self.calls[number])
        if problem:
            raise UnsuitableError(f"{method} requires {problem}")
        return number


def require_same_calls(calls: Sequence[AttentionCall], layers: Sequence[AttentionLayer], is_complete: bool) -> None:
    """Require that a forward pass runs the attention layers that the probe observed.

    Raises
    ------
    UnsuitableError
        If it runs different attention layers, or the same layers with different numbers of queries or keys.
    """
    same = all(
        (call.queries, call.keys) == (layer.queries, layer.keys) for call, layer in zip(calls, layers, strict=False)
    )
    if not same or len(layers) > len(calls) or (is_complete and len(layers) < len(calls)):
        raise UnsuitableError(
            "the model runs different attention layers for this batch than for one image, or the same layers with "
            f"different numbers of queries or keys; use {FEATURE_MAPS}"
        )


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
