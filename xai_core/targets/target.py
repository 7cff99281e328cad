"""Targets: the number that a map explains, such as the score of the predicted class or of a given class."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xai_core.batched import Batched
from xai_core.errors import TargetError
from xai_core.targets.box_measure import BoxMeasure
from xai_core.targets.measures import FUNCTION_LOST, ClassMeasure, LogitMeasure, Measure, RegionMeasure
from xai_core.targets.score_reader import ScoreReader


class Target(ABC):
    """Base class of targets other than classes, such as `Contrast`, `Region` and `Text`."""

    @abstractmethod
    def bind(self, output: Any, logits: ScoreReader, batch: int) -> "BoundTarget":
        """Bind the target to a batch of images.

        Everything that depends on the original images, such as the predicted class, is fixed here. Perturbed images are
        then scored for the target of the original ones.

        Parameters
        ----------
        output
            The model's output for the batch.
        logits
            Returns the class scores [N,K] in an output for N images.
        batch
            The number of images B.

        Raises
        ------
        TargetError
            If the target is not defined for this output.
        """

    def with_ids(self, id_of: Callable[[str], int]) -> "Target":
        """Return this target with ids in place of class names. `id_of` returns the id of a name."""
        return self

    def with_texts(self, encode: Callable[[Sequence[str]], Any] | None) -> "Target":
        """Return this target with embeddings in place of texts. `encode` returns the embeddings of texts.

        Raises
        ------
        TargetError
            If the target contains a text and `encode` is None, because the engine has no tokenizer.
        """
        return self

    @property
    def kind(self) -> Hashable:
        """A key that is equal for targets that read the same part of an output."""
        return type(self).__name__

    @property
    def of_classes(self) -> bool:
        """Return whether the target reads class scores."""
        return False

    def reads(self, output: Any) -> Tensor | None:
        """Return the tensor that the target reads from a model's output for one image, or None for the class scores."""
        return None


def read_by(target: object, output: Any) -> Tensor | None:
    """Return what a target reads from a model's output for one image, or None if it reads the class scores."""
    if not isinstance(target, Target) and (not callable(target) or isinstance(target, type)):
        return None
    try:
        scores = target.reads(output) if isinstance(target, Target) else target(output)
    except Exception:  # a function for a batch of another size, or an output that is rejected later
        return None
    return scores if isinstance(scores, Tensor) and scores.requires_grad else None


Class = int | str
"""A class id, or the name of a class."""
TargetLike = Class | Sequence[Class] | Sequence[Sequence[Class]] | Tensor | Target | Callable[[Any], Tensor] | None
"""None (the predicted class), a class, one or T classes per image, a `Target`, or a function from output to [B]."""


@dataclass(frozen=True, eq=False, repr=False)
class BoundTarget(Batched):
    """A target of a batch of B images: a number for each image, computed from a model's output.

    Attributes
    ----------
    measure
        A function `(output, of, kind)` that returns [N], with the arguments of `model_score`. A `Batched` object is
        indexed, moved and saved with the target. These operations replace any other function by None.
    batch
        The number of images B.
    valid
        [B] bool, false for images for which the target is not defined. It stays on the device, and the engine reads it
        once per batch.
    reason
        Why the target is not defined for those images, to complete the sentence "the targets of images [0] are ...".
    """

    measure: Measure | None
    batch: int
    valid: Bool[Tensor, " B"] | None = None
    reason: str = ""

    _unsaved = ("measure",)

    @property
    def ids(self) -> Int[Tensor, " B"] | None:
        """The class ids [B], or None if the target is not a class."""
        return self.measure.ids if isinstance(self.measure, ClassMeasure) else None

    @property
    def classes(self) -> Int[Tensor, " B"] | None:
        """The class ids [B] of the explained classes, detections or regions, or None for other targets."""
        if isinstance(self.measure, BoxMeasure):
            return self.measure.labels
        return self.measure.ids if isinstance(self.measure, RegionMeasure) else self.ids

    def model_score(self, output: Any, of: Int[Tensor, " N"] | None = None, kind: str = "logit") -> Float[Tensor, " N"]:
        """Return the target's score for each image.

        Parameters
        ----------
        output
            The model's output for N images.
        of
            For each of the N images, the index of its original in the batch. Default: the images are the batch itself.
        kind
            `logit` or `probability`. For a class, the score is its logit or its softmax probability (the sigmoid if the
            model has one logit). If the model ends in a softmax or a sigmoid, both are the model's own score. If the
            target is a function, `kind` has no effect. `gradient` is the number that gradients explain: for a `Box`,
            the score of one detection, and for all other targets the `logit`.

        Raises
        ------
        TargetError
            If the scores are not floating-point or not [N], or if the target's function was not saved with it.
        ModelOutputError
            If the output does not contain one row per image.
        """
        if self.measure is None:
            raise TargetError(FUNCTION_LOST)
        scores = self.measure(output, of, kind)
        rows = self.batch if of is None else len(of)
        if not isinstance(scores, Tensor) or scores.shape != (rows,) or not scores.is_floating_point():
            received = f"{scores.dtype} {list(scores.shape)}" if isinstance(scores, Tensor) else type(scores).__name__
            raise TargetError(
                f"a target function must return one floating-point number per image, [{rows}]; it returned {received}"
            )
        return scores

    def rivals(self, output: Any, which: int | Sequence[int]) -> "list[BoundTarget]":
        """Return other classes as targets: the N highest-scoring ones, or the classes with the ids `which`.

        The list is empty if this target is not a class.

        Raises
        ------
        TargetError
            If an id is not a class of the model. If an id is the explained class, the engine raises the error later.
        """
        if not isinstance(self.measure, ClassMeasure):
            return []
        ids, logits = self.measure.ids, self.measure.logits
        scores = self.measure.class_scores(output, None).detach()
        if isinstance(which, int):
            others = scores.scatter(1, ids[:, None], -torch.inf)
            best = others.topk(min(which, scores.shape[1] - 1), 1).indices
            return [class_target(rival, logits) for rival in best.unbind(1)]
        reason = "also among their negatives: choose other classes to compare with"
        rivals = [class_ids(class_id, scores, self.batch) for class_id in which]
        return [class_target(rival, logits, rival != ids, reason) for rival in rivals]

    @property
    def is_located(self) -> bool:
        """Return whether the target depends on a location, and is therefore not valid for a mirrored image."""
        return isinstance(self.measure, BoxMeasure | RegionMeasure)

    def masks(self, size: tuple[int, int]) -> Bool[Tensor, "B H W"] | None:
        """Return the pixels of the explained object, in images of a size (H, W), or None if they are not known."""
        return self.measure.masks(size) if isinstance(self.measure, BoxMeasure) else None

    def with_logits(self, logits: ScoreReader) -> "BoundTarget":
        """Return this target with a reader of class scores, which saving or copying a target removes."""
        if isinstance(self.measure, LogitMeasure) and self.measure.logits is None:
            return replace(self, measure=replace(self.measure, logits=logits))
        return self

    def clone(self) -> "BoundTarget":
        """Return this target with copies of all tensors. A measure that is not a `Batched` object is shared."""
        measure = self.measure.clone() if isinstance(self.measure, Batched) else self.measure
        return replace(self, measure=measure, valid=None if self.valid is None else self.valid.clone())

    def __len__(self) -> int:
        """Return the number of images B."""
        return self.batch

    def _select(self, images: slice) -> "BoundTarget":
        selected = replace(super()._select(images), batch=len(range(self.batch)[images]))
        return selected if isinstance(self.measure, Batched) else replace(selected, measure=None)

    def _map(self, *functions: Any) -> "BoundTarget":
        mapped = super()._map(*functions)
        is_complete = mapped is self or isinstance(self.measure, Batched)
        return mapped if is_complete else replace(mapped, measure=None)


def replace_names(classes: Any, id_of: Callable[[str], int]) -> Any:
    """Return classes with ids in place of names, also in nested lists. Other objects are returned unchanged."""
    if isinstance(classes, str):
        return id_of(classes)
    if isinstance(classes, list | tuple):
        return [replace_names(item, id_of) for item in classes]
    return classes


def class_ids(ids: object, scores: Float[Tensor, "B K ..."], batch: int) -> Tensor:
    """Return class ids as an int64 tensor [B] or [B,T] on the device of the scores.

    Python ids are checked immediately. The values of a tensor are not read from the device.

    Raises
    ------
    TargetError
        See `targets_of`.
    """
    classes = scores.shape[1]
    if isinstance(ids, Tensor):
        if ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
            raise TargetError(f"a target tensor must contain integer class ids, got {ids.dtype}")
        tensor = ids
    else:
        try:
            tensor = torch.tensor(_python_ids(ids), dtype=torch.int64)
        except (TypeError, ValueError):
            raise TargetError(
                "a target must be None, a class id, one id or T ids per image, a `Target`, or a function of the "
                f"output; got {ids!r}"
            ) from None
        outside = tensor[(tensor < 0) | (tensor >= classes)].tolist()
        if outside:
            raise TargetError(f"target {outside[0]} is not a class of this model: expected 0 to {classes - 1}")
    tensor = tensor.to(scores.device, torch.int64, non_blocking=True)
    tensor = tensor.expand(batch) if tensor.ndim == 0 else tensor
    if tensor.ndim > 2 or len(tensor) != batch or not tensor.numel():
        raise TargetError(
            f"expected one class id, or a row of ids, for each of {batch} images, got shape {list(tensor.shape)}"
        )
    return tensor


def class_target(ids: Tensor, logits: ScoreReader | None, valid: Tensor | None = None, reason: str = "") -> BoundTarget:
    """Return the target for one class per image. See `BoundTarget` for `valid` and `reason`."""
    return BoundTarget(ClassMeasure(logits, ids), len(ids), valid, reason)


def _python_ids(ids: object) -> object:
    """Convert integers, and sequences of integers, to `int` and lists of `int`. Raise TypeError for anything else."""
    if isinstance(ids, Integral) and not isinstance(ids, bool):
        return int(ids)
    if isinstance(ids, Sequence) and not isinstance(ids, str):
        return [_python_ids(item) for item in ids]
    raise TypeError
