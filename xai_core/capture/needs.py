"""Requests of explainers: what to capture during the shared pass, and the union of several requests."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import UnionType

from torch import nn

from xai_core.error_text import shown
from xai_core.model.gates import Gate
from xai_core.model.layouts import Features, Layer

Rivals = int | tuple[int, ...]
"""Rival classes: the number of highest-scoring other classes, or the ids of the classes."""


@dataclass(frozen=True)
class Needs:
    """The data that an explainer needs from one pass through the model.

    Attributes
    ----------
    activations
        Layers whose output is captured, by module name or as modules.
    gradients
        Whether the gradient of the target's score with respect to these outputs is captured.
    curvature
        Whether the product of the Hessian of the score with these outputs is captured.
    image_gradient
        Whether the gradient with respect to the images is captured.
    attention
        Whether the attention of every layer is captured.
    attention_gradients
        Whether the gradient of the score with respect to every attention matrix is captured.
    gates
        Gates from `ModelAdapter.probe.gates` whose features and values are captured.
    block_scores
        Transformer blocks from `ModelAdapter.blocks`, each of which is explained by its own score. A block's score is
        the model's output when the layers after the last of these blocks receive the block's tokens. For each block,
        the gradient of its score with respect to its attention matrix is captured. If one query pools the last tokens
        by attention, this is the gradient with respect to the attention of this query to the block's tokens.
    rivals
        Other classes whose gradients are captured too: the number of highest-scoring classes, or class ids.
    parts
        Needs of the explainers that a composite explainer contains. Each of them receives only the data that it needs.
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
        """These needs, and the needs of all nested explainers."""
        return [self, *(needs for part in self.parts for needs in part.all)]


@dataclass(frozen=True)
class NeedsUnion:
    """The union of several `Needs`, with layers by module name.

    `curvatures` is a subset of `gradients`, which is a subset of `activations`.
    """

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
    def of(cls, requests: Sequence[Needs], layer_name: Callable[[Layer], str]) -> "NeedsUnion":
        """Unite requests and their parts. `layer_name` returns the module name of a layer."""
        each = [needs for request in requests for needs in request.all]
        return cls(
            frozenset(layer_name(layer) for needs in each for layer in needs.activations),
            frozenset(
                layer_name(layer) for needs in each if needs.gradients or needs.curvature for layer in needs.activations
            ),
            frozenset(layer_name(layer) for needs in each if needs.curvature for layer in needs.activations),
            any(needs.image_gradient for needs in each),
            any(bool(needs.attention or needs.attention_gradients or needs.block_scores) for needs in each),
            any(needs.attention_gradients for needs in each),
            frozenset(gate for needs in each for gate in needs.gates),
            frozenset(needs.block_scores for needs in each if needs.block_scores),
            frozenset(needs.rivals for needs in each if needs.rivals),
        )


def wrong_field(needs: Needs) -> str:
    """Return the name and value of a field that has another type than declared, or an empty string."""
    flags = ("gradients", "curvature", "image_gradient", "attention", "attention_gradients")
    is_valid = {
        "activations": _contains(needs.activations, str | nn.Module),
        **{flag: isinstance(getattr(needs, flag), bool) for flag in flags},
        "gates": _contains(needs.gates, Gate),
        "block_scores": _contains(needs.block_scores, Features),
        "rivals": _contains(needs.rivals if isinstance(needs.rivals, tuple) else (needs.rivals,), int),
        "parts": _contains(needs.parts, Needs),
    }
    for name, valid in is_valid.items():
        if not valid:
            return f"{name}={shown(getattr(needs, name))}"
    return next(filter(None, map(wrong_field, needs.parts)), "")


def _contains(values: object, kind: type | UnionType) -> bool:
    return isinstance(values, tuple | list) and all(isinstance(value, kind) for value in values)
