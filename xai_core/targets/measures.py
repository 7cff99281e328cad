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
from xai_core.outputs import Path, described, tensors_of
from xai_core.precision import at_least_float32
from xai_core.targets.pixel_scores import PixelReader
from xai_core.targets.score_reader import ScoreReader
from xai_core.targets.selection import EMBEDDINGS, TOKEN_SCORES, find, read

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

    logits: ScoreReader | None

    _unsaved = ("logits",)

    @property
    def reader(self) -> ScoreReader:
        """The reader of the model's class scores."""
        if self.logits is None:
            raise TargetError(
                "the target was saved or copied without its model; pass its maps to `Engine.evaluate`, or explain again"
            )
        return self.logits

    def class_scores(self, output: Any, of: Tensor | None) -> Float[Tensor, "N K"]:
        """Return the class scores in an output for N images."""
        return self.reader(output, count(self, of))

    @abstractmethod
    def __call__(self, output: Any, of: Tensor | None, kind: str) -> Tensor:
        """See `BoundTarget.measure`."""


@dataclass(frozen=True, eq=False, repr=False)
class ClassMeasure(LogitMeasure):
    """The logit or the probability of one class `ids` [B] of each image."""

    ids: Int[Tensor, " B"]

    def __call__(self, output: Any, of: Tensor | None, kind: str) -> Tensor:
        """See `BoundTarget.measure`."""
        scores = self.class_scores(output, of)
        if kind == "probability" and not self.reader.are_probabilities():
            scores = probabilities(scores)
        return scores.gather(1, at(self.ids, of)[:, None]).squeeze(1)


@dataclass(frozen=True, eq=False, repr=False)
class ContrastMeasure(LogitMeasure):
    """The difference of two scores, whose class ids are `pairs` [B,2], or the probability of the first of the two."""

    pairs: Int[Tensor, "B 2"]

    def __call__(self, output: Any, of: Tensor | None, kind: str) -> Tensor:
        """See `BoundTarget.measure`."""
        a, b = self.class_scores(output, of).gather(1, at(self.pairs, of)).unbind(1)
        if kind == "probability":
            return share(a, b) if self.reader.are_probabilities() else at_least_float32(a - b).sigmoid()
        return a - b


@dataclass(frozen=True, eq=False, repr=False)
class RegionMeasure(Batched):
    """The mean, with `weights` [B,h,w] that sum to one, of the logits or probabilities of class `ids` [B].

    Attributes
    ----------
    weights
        [B,h,w], or [B,d,h,w] for volumes.
    pixels
        Reads the scores [N,K,h,w], or [N,K,d,h,w] for volumes, in an output.
    """

    ids: Int[Tensor, " B"]
    weights: Float[Tensor, "B *size"]
    pixels: PixelReader

    def __call__(self, output: Any, of: Tensor | None, kind: str) -> Tensor:
        """See `BoundTarget.measure`."""
        scores = self.pixels(output, count(self, of))
        if kind == "probability":
            scores = self.pixels.probabilities(scores)
        rows = torch.arange(len(scores), device=scores.device)
        return (scores[rows, at(self.ids, of)] * at(self.weights, of)).flatten(1).sum(1)


@dataclass(frozen=True, eq=False, repr=False)
class SimilarityMeasure(Batched):
    """The cosine similarity of the unit `vectors` [B,D] and the embeddings with the path `path` in an output."""

    vectors: Float[Tensor, "B D"]
    path: Path = ()

    def __call__(self, output: Any, of: Tensor | None, kind: str) -> Tensor:
        """See `BoundTarget.measure`."""
        embeddings = read(output, self.path, count(self, of), EMBEDDINGS)
        return F.cosine_similarity(at_least_float32(embeddings), at(self.vectors, of), dim=1)


@dataclass(frozen=True, eq=False, repr=False)
class TextMeasure(Batched):
    """The logit scale * cos + bias of a text, with `scales` [B] and `biases` [B], or its probability.

    A model without biases compares several texts, so a single text has no probability. Its cosine is used instead.

    Attributes
    ----------
    text
        The text, or "" if each image has its own text.
    """

    similarity: SimilarityMeasure
    scales: Float[Tensor, " B"]
    biases: Float[Tensor, " B"] | None
    text: str = ""

    def __call__(self, output: Any, of: Tensor | None, kind: str) -> Tensor:
        """See `BoundTarget.measure`."""
        cosines = self.similarity(output, of, kind)
        if self.biases is None:
            return cosines if kind == "probability" else cosines * at(self.scales, of)
        logits = cosines * at(self.scales, of) + at(self.biases, of)
        return logits.sigmoid() if kind == "probability" else logits


@dataclass(frozen=True, eq=False, repr=False)
class TokenMeasure(Batched):
    """The logit or the probability of tokens `ids` [B] at a position of the logits [N,L,V] with the path `path`."""

    ids: Int[Tensor, " B"]
    position: int
    path: Path = ()

    def __call__(self, output: Any, of: Tensor | None, kind: str) -> Tensor:
        """See `BoundTarget.measure`."""
        scores = read(output, self.path, count(self, of), TOKEN_SCORES)[:, self.position]
        scores = probabilities(scores) if kind == "probability" else scores
        return scores.gather(1, at(self.ids, of)[:, None]).squeeze(1)


@dataclass(frozen=True, eq=False, repr=False)
class TextContrastMeasure(Batched):
    """The difference of the logits of two texts, or the probability of the first of the two."""

    a: TextMeasure
    b: TextMeasure

    def __call__(self, output: Any, of: Tensor | None, kind: str) -> Tensor:
        """See `BoundTarget.measure`."""
        difference = self.a(output, of, "logit") - self.b(output, of, "logit")
        return difference.sigmoid() if kind == "probability" else difference


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


def embeddings(output: Any, batch: int) -> Path:
    """Return the path of the embeddings [B,D] in an image encoder's output.

    Raises
    ------
    TargetError
        If the output contains no tensor of this shape.
    ModelOutputError
        If it contains several, or if the tensor does not have one row per image.
    """
    if not any(map(EMBEDDINGS.fits, tensors_of(output))):
        raise TargetError(f"a similarity needs a model whose output is embeddings [B, D]; got {described(output)}")
    return find(output, batch, EMBEDDINGS)


def count(measure: Batched, of: Tensor | None) -> int:
    """Return the number of images N that a measure scores: the batch, or the images that `of` describes."""
    return len(measure) if of is None else len(of)


def at(values: Tensor, of: Tensor | None) -> Tensor:
    """Return the values of the images that N outputs belong to: `values[of]`, or all values if `of` is None."""
    return values if of is None else values[of]


def probabilities(scores: Float[Tensor, "N K ..."]) -> Float[Tensor, "N K ..."]:
    """Return the softmax over classes, or the sigmoid if the model has one logit, in float32 or float64."""
    return at_least_float32(scores).sigmoid() if scores.shape[1] == 1 else at_least_float32(scores).softmax(1)


def share(a: Float[Tensor, " N"], b: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Return the fraction of the first of two probabilities in their sum, a / (a + b), in float32 or float64."""
    a, b = at_least_float32(a), at_least_float32(b)
    return a / (a + b).clamp(min=torch.finfo(a.dtype).tiny)
