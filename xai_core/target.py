"""What is being explained: the predicted class, class ids, or any number that a callable gives per image."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from xai_core.errors import TargetError

TargetLike = int | Sequence[int] | Tensor | Callable[[Any], Tensor] | None
"""None (the predicted class), a class id, one id per image, or a callable from output to [B] numbers."""


@dataclass(frozen=True, eq=False)
class Target:
    """A target bound to a batch: either class `ids`, one per image, or a `function` of the output.

    `valid` is true on the device where the ids are classes of the model; the engine reads it once per
    batch, so that an id out of range never needs a synchronisation of its own.
    """

    ids: Int[Tensor, " B"] | None
    function: Callable[[Any], Tensor] | None
    valid: Bool[Tensor, " B"] | None = None
    classes: int | None = None

    @classmethod
    def of(cls, target: TargetLike, output: Any, logits: Callable[[Any], Tensor], batch: int) -> "Target":
        """Bind what a user gave to the output for a batch, in which `logits` finds the scores [B,K].

        Raises
        ------
        TargetError
            Where a Python id is outside the classes, the count of ids is not B, or the kind is unknown.
        """
        if callable(target):
            return cls(None, target)
        scores = logits(output).detach()
        classes = scores.shape[1]
        if target is None:
            return cls(scores.argmax(1), None, None, classes)
        if isinstance(target, Tensor):
            if target.is_floating_point() or target.is_complex() or target.dtype == torch.bool:
                raise TargetError(f"a target tensor holds class ids as integers, not {target.dtype}")
            ids = target.to(scores.device, torch.int64, non_blocking=True)
            ids = ids.expand(batch) if ids.ndim == 0 else ids
        else:
            single = isinstance(target, Integral)
            listed = [int(target)] if isinstance(target, Integral) else _list_of_ids(target)
            outside = [i for i in listed if not 0 <= i < classes]
            if outside:
                raise TargetError(f"target {outside[0]} is not a class of this model: expected 0 to {classes - 1}")
            ids = torch.tensor(listed * batch if single else listed, dtype=torch.int64)
            ids = ids.to(scores.device, non_blocking=True)
        if ids.shape != (batch,):
            raise TargetError(f"expected one class id for each of {batch} images, got shape {list(ids.shape)}")
        valid = (ids >= 0) & (ids < classes)
        return cls(ids.clamp(0, classes - 1), None, valid, classes)

    def score(
        self, output: Any, logits: Callable[[Any], Tensor], of: Tensor | int, kind: str = "logit"
    ) -> Float[Tensor, " N"]:
        """Score N outputs; `of` [N] says to which image of the batch each belongs, or is B: each to its own.

        A class id scores its logit or its softmax probability (the sigmoid where the model has one
        logit); a callable scores what it gives, whatever the kind.

        Raises
        ------
        TargetError
            Where a callable does not give one floating-point number per image.
        """
        if self.function is not None:
            scores = self.function(output)
            rows = of if isinstance(of, int) else len(of)
            if not isinstance(scores, Tensor) or scores.shape != (rows,) or not scores.is_floating_point():
                given = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
                raise TargetError(
                    f"a target callable must give one number per image, floating-point [B]; it gave {given}"
                )
            return scores
        assert self.ids is not None
        scores = logits(output)
        if kind == "probability":
            scores = scores.float() if scores.dtype.itemsize < 4 else scores
            scores = scores.sigmoid() if scores.shape[1] == 1 else scores.softmax(1)
        ids = self.ids if isinstance(of, int) else self.ids[of]
        return scores.gather(1, ids[:, None]).squeeze(1)


def _list_of_ids(target: object) -> list[int]:
    if isinstance(target, Sequence) and not isinstance(target, str) and all(isinstance(i, Integral) for i in target):
        return [int(i) for i in target]
    raise TargetError(
        f"target must be None, a class id, one id per image or a callable on the model's output, not {target!r}"
    )
