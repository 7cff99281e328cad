"""What is being explained: the predicted class, class ids, or any number that a question or callable gives."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xai_core.errors import TargetError

Logits = Callable[[Any], Tensor]
"""Finds the class scores [N,K] in a model's output for N images."""


class Target(ABC):
    """Something other than one class to be explained, such as `Contrast`, `Region` or `Similarity`."""

    @abstractmethod
    def bind(self, output: Any, logits: Logits, batch: int) -> "BoundTarget":
        """Bind the question to a batch, given the model's output for its B images.

        Whatever the answer depends on, the predicted class for one, is fixed here, so that perturbed images
        are asked what the original was.

        Raises
        ------
        TargetError
            Where the question does not suit the output.
        """


TargetLike = int | Sequence[int] | Sequence[Sequence[int]] | Tensor | Target | Callable[[Any], Tensor] | None
"""None (the predicted class), a class id, one id or T ids per image, a question, or a callable from output to [B]."""


@dataclass(frozen=True, eq=False)
class BoundTarget:
    """What is explained of a batch of B images: a number for any output of the model for them.

    Attributes
    ----------
    measure
        Called with an output for N images, the number [N] of the image of the batch that each is (None: each
        is its own), and `logit` or `probability`; gives [N].
    batch
        B.
    ids
        [B] class ids, where the target is a class.
    logits
        Finds the class scores in an output, where the target is a class.
    valid
        [B], false where the target makes no sense for an image. It stays on the device, and the engine reads it
        once per batch.
    reason
        What is wrong with those images.
    """

    measure: Callable[[Any, Tensor | None, str], Tensor]
    batch: int
    ids: Int[Tensor, " B"] | None = None
    logits: Logits | None = None
    valid: Bool[Tensor, " B"] | None = None
    reason: str = ""

    def model_score(self, output: Any, of: Int[Tensor, " N"] | None = None, kind: str = "logit") -> Float[Tensor, " N"]:
        """Score an output for N images; `of` says which image of the batch each is, by default each its own.

        A class scores its logit or its softmax probability (the sigmoid where the model has one logit); a
        callable scores what it gives, whatever the kind.

        Raises
        ------
        TargetError
            Where the number is not floating-point, or not one per image.
        """
        scores = self.measure(output, of, kind)
        rows = self.batch if of is None else len(of)
        if not isinstance(scores, Tensor) or scores.shape != (rows,) or not scores.is_floating_point():
            given = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise TargetError(f"a target callable must give one number per image, floating-point [B]; it gave {given}")
        return scores

    def rivals(self, output: Any, which: int | Sequence[int]) -> "list[BoundTarget]":
        """Other classes as targets, the highest-scoring ones by number, or by id; none where this one is no class.

        Raises
        ------
        TargetError
            Where an id is outside the classes. Where it is the target itself, the engine says so once it reads.
        """
        if self.ids is None or self.logits is None:
            return []
        scores = self.logits(output).detach()
        if isinstance(which, int):
            others = scores.scatter(1, self.ids[:, None], -torch.inf)
            best = others.topk(min(which, scores.shape[1] - 1), 1).indices
            return [_class_target(ids, self.logits) for ids in best.unbind(1)]
        reason = "negatives of themselves: choose other classes to compare with"
        return [
            _class_target(ids, self.logits, ids != self.ids, reason)
            for ids in (class_ids(one, scores, self.batch) for one in which)
        ]


def targets_of(given: TargetLike, output: Any, logits: Logits, batch: int) -> tuple[list[BoundTarget], bool]:
    """Bind what a user gave to an output for a batch; the targets, and whether several per image were asked for.

    Raises
    ------
    TargetError
        Where a Python id is outside the classes, the ids are not one row per image, or the kind is unknown.
    """
    if isinstance(given, Target):
        return [given.bind(output, logits, batch)], False
    if callable(given):
        return [BoundTarget(lambda output, of, kind: given(output), batch)], False
    scores = logits(output).detach()
    if given is None:
        return [_class_target(scores.argmax(1), logits)], False
    ids = class_ids(given, scores, batch)
    several = ids.ndim == 2
    classes = scores.shape[1]
    reason = f"not classes of this model: expected 0 to {classes - 1}"
    return [
        _class_target(one.clamp(0, classes - 1), logits, (one >= 0) & (one < classes), reason)
        for one in (ids.unbind(1) if several else [ids])
    ], several


def class_ids(given: object, scores: Float[Tensor, "B K ..."], batch: int) -> Tensor:
    """Read class ids, [B] or [B,T] int64 on the scores' device; those of Python are checked at once.

    Raises
    ------
    TargetError
        See `targets_of`.
    """
    classes = scores.shape[1]
    if isinstance(given, Tensor):
        if given.is_floating_point() or given.is_complex() or given.dtype == torch.bool:
            raise TargetError(f"a target tensor holds class ids as integers, not {given.dtype}")
        ids = given
    else:
        try:
            ids = torch.tensor(_listed(given), dtype=torch.int64)
        except (TypeError, ValueError):
            raise TargetError(
                "a target must be None, a class id, one id or T ids per image (rows of one length), a question "
                f"such as `Contrast`, or a callable on the model's output, not {given!r}"
            ) from None
        outside = ids[(ids < 0) | (ids >= classes)].tolist()
        if outside:
            raise TargetError(f"target {outside[0]} is not a class of this model: expected 0 to {classes - 1}")
    ids = ids.to(scores.device, torch.int64, non_blocking=True)
    ids = ids.expand(batch) if ids.ndim == 0 else ids
    if ids.ndim > 2 or len(ids) != batch or not ids.numel():
        raise TargetError(
            f"expected one class id, or a row of ids, for each of {batch} images, got shape {list(ids.shape)}"
        )
    return ids


def at(values: Tensor, of: Tensor | None) -> Tensor:
    """The value of the image that each output is of."""
    return values if of is None else values[of]


def wide(tensor: Tensor) -> Tensor:
    """Float32 for half-precision tensors; float32 and float64 as they are."""
    return tensor.float() if tensor.dtype.itemsize < 4 else tensor


def probabilities(scores: Float[Tensor, "N K ..."]) -> Float[Tensor, "N K ..."]:
    """Softmax over classes, or the sigmoid where the model has one logit; float32 or better."""
    return wide(scores).sigmoid() if scores.shape[1] == 1 else wide(scores).softmax(1)


def _class_target(ids: Tensor, logits: Logits, valid: Tensor | None = None, reason: str = "") -> BoundTarget:
    def measure(output: Any, of: Tensor | None, kind: str) -> Tensor:
        scores = logits(output)
        scores = probabilities(scores) if kind == "probability" else scores
        return scores.gather(1, at(ids, of)[:, None]).squeeze(1)

    return BoundTarget(measure, len(ids), ids, logits, valid, reason)


def _listed(given: object) -> object:
    """Integers, and sequences of them, as Python's own; anything else is a TypeError."""
    if isinstance(given, Integral) and not isinstance(given, bool):
        return int(given)
    if isinstance(given, Sequence) and not isinstance(given, str):
        return [_listed(item) for item in given]
    raise TypeError
