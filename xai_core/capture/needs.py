"""What explainers need of one pass, and the union of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xai_core.model.gates import Gate
from xai_core.model.layouts import Features, Layer

Rivals = int | tuple[int, ...]
"""Other classes: how many of the highest-scoring ones, or their ids."""


@dataclass(frozen=True)
class Needs:
    """What an explainer needs of one pass through the model.

    Attributes
    ----------
    activations
        Layers, by module name or module, whose output is wanted.
    gradients
        Whether the gradient of the target's score at those layers is wanted too.
    curvature
        Whether the Hessian of that score, times the activation, is wanted too.
    image_gradient
        Whether the gradient at the images is wanted.
    attention
        Whether the attention of every layer is wanted.
    attention_gradients
        Whether the gradient of that score with respect to every attention matrix is wanted too.
    gates
        Those of the gates that the probe found whose features and values are wanted.
    block_scores
        Blocks whose own score is wanted to be explained, `ModelAdapter.blocks`: for each, the gradient, at its own
        attention matrix, of the score that what follows the last of these blocks gives its tokens.
    rivals
        Of which other classes the gradients are wanted too: how many of the highest-scoring ones, or their ids.
    parts
        What explainers that this one is made of need, each with a view of its own.
    """

    activations: tuple[Layer, ...] = ()
    gradients: bool = False
    curvature: bool = False
    image_gradient: bool = False
    attention: bool = False
    attention_gradients: bool = False
    gates: tuple[Gate, ...] = ()
    block_scores: tuple[Features, ...] = ()
    rivals: Rivals = 0
    parts: tuple["Needs", ...] = ()

    @property
    def all(self) -> "list[Needs]":
        """Itself and its parts, and theirs."""
        return [self, *(one for part in self.parts for one in part.all)]


@dataclass(frozen=True)
class NeedsUnion:
    """The union of what explainers need: layers by name, in three circles, and the rest."""

    activations: frozenset[str]
    gradients: frozenset[str]
    curvatures: frozenset[str]
    image_gradient: bool
    attention: bool
    attention_gradients: bool
    gates: frozenset[Gate]
    block_scores: frozenset[tuple[Features, ...]]
    rivals: frozenset[Rivals]

    @classmethod
    def of(cls, needs: Sequence[Needs], name: Callable[[Layer], str]) -> "NeedsUnion":
        """Unite needs, in which `name` gives the name of a layer."""
        needs = [one for need in needs for one in need.all]
        return cls(
            frozenset(name(layer) for need in needs for layer in need.activations),
            frozenset(name(layer) for need in needs if need.gradients or need.curvature for layer in need.activations),
            frozenset(name(layer) for need in needs if need.curvature for layer in need.activations),
            any(need.image_gradient for need in needs),
            any(bool(need.attention or need.attention_gradients or need.block_scores) for need in needs),
            any(need.attention_gradients for need in needs),
            frozenset(gate for need in needs for gate in need.gates),
            frozenset(need.block_scores for need in needs if need.block_scores),
            frozenset(need.rivals for need in needs if need.rivals),
        )
