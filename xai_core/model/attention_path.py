"""Attention on the path from the images to the last tokens: its order, and the rows that affect the scores."""

from collections.abc import Mapping
from dataclasses import dataclass

from xai_core.errors import LayerError, UnsuitableError
from xai_core.model.attention_call import AttentionCall
from xai_core.model.attention_problems import negative, no_graph, not_global, not_kept, other_tokens
from xai_core.model.layouts import Features


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
