"""Why one class and not another."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xai_core.errors import TargetError
from xai_core.targets.target import BoundTarget, Logits, Target, at, class_ids, wide

Class = int | Tensor | None


@dataclass(frozen=True, eq=False)
class Contrast(Target):
    """Why class `a` and not class `b`: the difference of their logits, y_a - y_b.

    As a probability it is sigmoid(y_a - y_b), that of `a` where only `a` and `b` are to choose from.

    Parameters
    ----------
    a
        A class id, or [B] ids; default: the predicted class of each image.
    b
        Likewise; default: the highest-scoring class that is not `a`.
    """

    a: Class = None
    b: Class = None

    def bind(self, output: Any, logits: Logits, batch: int) -> BoundTarget:
        """See `Target.bind`."""
        scores = logits(output).detach()
        if scores.shape[1] < 2:
            raise TargetError("a contrast needs a model of two classes or more; this one gives a single score")
        first = scores.argmax(1) if self.a is None else class_ids(self.a, scores, batch)
        rest = scores.scatter(1, first.clamp(0, scores.shape[1] - 1)[:, None], -torch.inf)
        second = rest.argmax(1) if self.b is None else class_ids(self.b, scores, batch)
        if isinstance(self.a, int) and self.a == self.b:
            raise TargetError(f"a contrast needs two classes, got {self.a} twice")
        pairs = torch.stack([first, second], 1)
        known = pairs.clamp(0, scores.shape[1] - 1)
        valid = (pairs == known).all(1) & (first != second)

        def measure(output: Any, of: Tensor | None, kind: str) -> Tensor:
            a, b = logits(output).gather(1, at(known, of)).unbind(1)
            return wide(a - b).sigmoid() if kind == "probability" else a - b

        return BoundTarget(measure, batch, valid=valid, reason="not two different classes of this model")
