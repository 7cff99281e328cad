"""The base of all metrics, and what a metric is given: images, a scorer, and nothing of the explainer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from xai_core.explainer import Described
from xai_core.perturb import Scorer
from xai_core.saliency import Saliency


@dataclass(frozen=True, eq=False)
class Score:
    """A metric's result for a batch, on the model's device.

    Attributes
    ----------
    values
        [B], one number per image.
    higher_is_better
        The direction in which the metric is read.
    curve
        [B,S+1], for metrics that walk: the model's score after each step, both ends included.
    fractions
        [S+1], the fraction of pixels replaced at each point of the curve.
    """

    values: Float[Tensor, " B"]
    higher_is_better: bool
    curve: Float[Tensor, "B S"] | None = None
    fractions: Float[Tensor, " S"] | None = None


class Evaluation:
    """What metrics score against: a batch of images and a scorer for the target that the maps were made for.

    Metrics of one batch share one evaluation, and keep in it what another metric may need.
    """

    def __init__(self, images: Float[Tensor, "B C H W"], scorer: Scorer) -> None:
        self.images, self.score = images, scorer
        self._kept: dict[Hashable, Any] = {}

    def once(self, key: Hashable, compute: Callable[[], Tensor]) -> Tensor:
        """Compute what `key` names, or give what was computed before in this batch."""
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]


class Metric(Described, ABC):
    """A measure of how well a map explains a model. Subclasses set `name` and `higher_is_better`."""

    higher_is_better: ClassVar[bool]

    @abstractmethod
    def evaluate(self, evaluation: Evaluation, saliency: Saliency) -> Score:
        """Score the maps of a batch; each image's number depends on nothing else in the batch."""
