"""Contrast: why one class and not another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xai_core.errors import TargetError
from xai_core.targets.measures import ContrastMeasure
from xai_core.targets.score_reader import ScoreReader
from xai_core.targets.target import BoundTarget, Class, Target, class_ids

ContrastClass = Class | Tensor | None


@dataclass(frozen=True, eq=False)
class Contrast(Target):
    """Why class `a` and not class `b`: the difference of their logits, y_a - y_b.

    As a probability, the target is sigmoid(y_a - y_b): the probability of `a` if only `a` and `b` were possible.

    Parameters
    ----------
    a
        A class id or name, or [B] ids. Default: the predicted class of each image.
    b
        A class id or name, or [B] ids. Default: the highest-scoring class other than `a`.
    """

    a: ContrastClass = None
    b: ContrastClass = None

    def with_ids(self, id_of: Callable[[str], int]) -> "Contrast":
        """See `Target.with_ids`."""
        a, b = (id_of(category) if isinstance(category, str) else category for category in (self.a, self.b))
        return Contrast(a, b)

    def bind(self, output: Any, logits: ScoreReader, batch: int) -> BoundTarget:
        """See `Target.bind`."""
        scores = logits(output, batch).detach()
        if scores.shape[1] < 2:
            raise TargetError("a contrast needs a model with at least two classes; this model has a single score")
        first = scores.argmax(1) if self.a is None else class_ids(self.a, scores, batch)
        others = scores.scatter(1, first.clamp(0, scores.shape[1] - 1)[:, None], -torch.inf)
        second = others.argmax(1) if self.b is None else class_ids(self.b, scores, batch)
        if isinstance(self.a, int) and self.a == self.b:
            raise TargetError(f"a contrast needs two different classes, got {self.a} twice")
        pairs = torch.stack([first, second], 1)
        known = pairs.clamp(0, scores.shape[1] - 1)
        valid = (pairs == known).all(1) & (first != second)
        reason = "not two different classes of this model"
        return BoundTarget(ContrastMeasure(logits, known), batch, valid, reason)
