"""Measures: the number that a target explains, computed from a model's output for each image.

They keep their tensors in fields, so that they can be moved, indexed and saved with the target.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from xai_core.batched import Batched
from xai_core.errors import TargetError
from xai_core.outputs import first_tensor, scores_of

Logits = Callable[[Any], Tensor]
"""A function from a model's output for N images to the class scores [N,K]."""
Measure = Callable[[Any, Tensor | None, str], Tensor]
"""A function from a model's output for N images to the N numbers that a target explains. See `BoundTarget`."""
FUNCTION_LOST = (
    "the target of these maps is a function, which is lost when maps are saved or copied; explain the images again "
    "with `Engine.explain`"
)


@dataclass(frozen=True, eq=False, repr=False)
class LogitMeasure(Batched, ABC):
    """Base class of measures of class scores.

    Attributes
    ----------
    logits
        Returns the class scores [N,K] in an output for N images. It belongs to a model, so it is not saved:
        `BoundTarget.with_logits` sets it again.
    """

    logits: Logits | None

    _unsaved = ("logits",)

    def class_scores(self, output: Any) -> Float[Tensor, "N K"]:
        """Return the class scores in an output for N images."""
        if self.logits is None:
            raise TargetError(
                "the target was saved or copied without its model; pass its maps to `Engine.evaluate`, or explain again"
            )
        return self.logits(output)

    @abstractmethod
    def __call__(self, output: Any, of: Tensor | None, kind: str) -> Tensor:
        """See `BoundTarget.measure`."""


@dataclass(frozen=True, eq=False, repr=False)
class ClassMeasure(LogitMeasure):
    """The logit or the probability of one class `ids` [B] of each image."""

    ids: Int[Tensor, " B"]

    def __call__(self, output: Any, of: Tensor | None, kind: str) -> Tensor:
        """See `BoundTarget.measure`."""
        scores = self.class_scores(output)
        scores = probabilities(scores) if kind == "probability" else scores
        return scores.gather(1, at(self.ids, of)[:, None]).squeeze(1)


@dataclass(frozen=True, eq=False, repr=False)
class ContrastMeasure(LogitMeasure):
    """The difference of two logits, whose class ids are `pairs` [B,2], or its sigmoid."""

    pairs: Int[Tensor, "B 2"]

    def __call__(self, output: Any, of: Tensor | None, kind: str) -> Tensor:
        """See `BoundTarget.measure`."""
        a, b = self.class_scores(output).gather(1, at(self.pairs, of)).unbind(1)
        return at_least_float32(a - b).sigmoid() if kind == "probability" else a - b


@dataclass(frozen=True, eq=False, repr=False)
class RegionMeasure(Batched):
    """The mean, with `weights` [B,h,w] that sum to one, of the logits or probabilities of class `ids` [B]."""

    ids: Int[Tensor, " B"]
    weights: Float[Tensor, "B h w"]

    def __call__(self, output: Any, of: Tensor | None, kind: str) -> Tensor:
        """See `BoundTarget.measure`."""
        scores = dense(output)
        scores = probabilities(scores) if kind == "probability" else scores
        rows = torch.arange(len(scores), device=scores.device)
        return (scores[rows, at(self.ids, of)] * at(self.weights, of)).sum((1, 2))


@dataclass(frozen=True, eq=False, repr=False)
class SimilarityMeasure(Batched):
    """The cosine similarity of an embedding and the unit `vectors` [B,D]."""

    vectors: Float[Tensor, "B D"]

    def __call__(self, output: Any, of: Tensor | None, kind: str) -> Tensor:
        """See `BoundTarget.measure`."""
        return F.cosine_similarity(at_least_float32(embeddings(output)), at(self.vectors, of), dim=1)


@dataclass(frozen=True, eq=False, repr=False)
class FunctionMeasure(Batched):
    """The numbers [N] that a user's function computes from an output. The function is not saved."""

    function: Callable[[Any], Tensor] | None

    _unsaved = ("function",)

    def __call__(self, output: Any, of: Tensor | None, kind: str) -> Tensor:
        """See `BoundTarget.measure`."""
        if self.function is None:
            raise TargetError(FUNCTION_LOST)
        return self.function(output)


def dense(output: Any) -> Float[Tensor, "B K h w"]:
    """Return the logits of each pixel in a segmentation model's output.

    Raises
    ------
    TargetError
        If the output does not contain logits [B,K,h,w].
    """
    tensor = scores_of(output)
    if tensor is None or tensor.ndim != 4:
        received = f"a tensor {list(tensor.shape)}" if tensor is not None else type(output).__name__
        raise TargetError(f"a region needs a segmentation model, whose output is logits [B,K,h,w]; got {received}")
    return tensor


def embeddings(output: Any) -> Float[Tensor, "B D"]:
    """Return the embeddings in an image encoder's output.

    Raises
    ------
    TargetError
        If the output does not contain embeddings [B,D].
    """
    tensor = first_tensor(output)
    if tensor is None or tensor.ndim != 2:
        received = f"a tensor {list(tensor.shape)}" if tensor is not None else type(output).__name__
        raise TargetError(f"a similarity needs a model whose output is embeddings [B, D]; got {received}")
    return tensor


def at(values: Tensor, of: Tensor | None) -> Tensor:
    """Return the values of the images that N outputs belong to: `values[of]`, or all values if `of` is None."""
    return values if of is None else values[of]


def at_least_float32(tensor: Tensor) -> Tensor:
    """Convert half-precision tensors to float32, and return float32 and float64 tensors unchanged."""
    return tensor.float() if tensor.dtype.itemsize < 4 else tensor


def probabilities(scores: Float[Tensor, "N K ..."]) -> Float[Tensor, "N K ..."]:
    """Return the softmax over classes, or the sigmoid if the model has one logit, in float32 or float64."""
    return at_least_float32(scores).sigmoid() if scores.shape[1] == 1 else at_least_float32(scores).softmax(1)
