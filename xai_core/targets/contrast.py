"""Contrast: why one class or text and not another."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xai_core.errors import TargetError
from xai_core.targets.measures import ContrastMeasure, TextContrastMeasure, TextMeasure
from xai_core.targets.score_reader import ScoreReader
from xai_core.targets.target import BoundTarget, Class, Target, class_ids
from xai_core.targets.text import Encode, Text

ContrastClass = Class | Tensor | Text | None


@dataclass(frozen=True, eq=False)
class Contrast(Target):
    """Why class `a` and not class `b`: the difference of their logits, y_a - y_b. Both can be texts, too.

    As a probability, the target is sigmoid(y_a - y_b): the probability of `a` if only `a` and `b` were possible.

    Parameters
    ----------
    a
        A class id or name, [B] ids, or a `Text`. Default: the predicted class of each image.
    b
        A class id or name, [B] ids, or a `Text`. Default: the highest-scoring class other than `a`.
    """

    a: ContrastClass = None
    b: ContrastClass = None

    def with_ids(self, id_of: Callable[[str], int]) -> "Contrast":
        """See `Target.with_ids`."""
        a, b = (id_of(category) if isinstance(category, str) else category for category in (self.a, self.b))
        return Contrast(a, b)

    def with_texts(self, encode: Encode | None) -> "Contrast":
        """See `Target.with_texts`."""
        if not isinstance(self.a, Text) and not isinstance(self.b, Text):
            return self
        a, b = self._texts()
        return Contrast(a.with_texts(encode), b.with_texts(encode))

    @property
    def of_classes(self) -> bool:
        """See `Target.of_classes`."""
        return not isinstance(self.a, Text)

    @property
    def kind(self) -> str:
        """See `Target.kind`."""
        return "Contrast" if self.of_classes else "Text"

    def reads(self, output: Any) -> Tensor | None:
        """See `Target.reads`."""
        return self.a.reads(output) if isinstance(self.a, Text) else None

    def bind(self, output: Any, logits: ScoreReader, batch: int) -> BoundTarget:
        """See `Target.bind`."""
        if isinstance(self.a, Text):
            a, b = (text.bind(output, logits, batch).measure for text in self._texts())
            assert isinstance(a, TextMeasure)
            assert isinstance(b, TextMeasure)
            return BoundTarget(TextContrastMeasure(a, b), batch)
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

    def _texts(self) -> tuple[Text, Text]:
        if not isinstance(self.a, Text) or not isinstance(self.b, Text):
            raise TargetError(
                f"a contrast needs two classes or two texts, such as `Contrast(Text({'a cat'!r}), Text({'a dog'!r}))`; "
                f"got {self.a!r} and {self.b!r}"
            )
        return self.a, self.b
