"""The base of all metrics, and what a metric is given: images, a scorer, and nothing of the explainer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xai_core.configurable import Configurable
from xai_core.errors import NoGroundTruthError
from xai_core.perturb import ModelScorer
from xai_core.saliency import Saliency

Kept = TypeVar("Kept")


@dataclass(frozen=True, eq=False)
class MetricResult:
    """A metric's result for a batch, on the model's device.

    Attributes
    ----------
    values
        [B], one number per image; [B,T] where the maps are of T targets.
    curve
        [B,S+1], for metrics with a perturbation curve: the model's score after each step, both ends included.
    fractions
        [S+1], the fraction of pixels replaced at each point of the curve.
    higher_is_better
        `Metric.higher_is_better`. The engine sets it, so `Metric.evaluate` leaves it None.
    """

    values: Float[Tensor, "B *T"]
    curve: Float[Tensor, "B *T S"] | None = None
    fractions: Float[Tensor, " S"] | None = None
    higher_is_better: bool | None = None

    @classmethod
    def of_targets(cls, scores: "Sequence[MetricResult]") -> "MetricResult":
        """The scores of the maps of T targets, as [B,T] values and [B,T,S+1] curves."""
        curves = [score.curve for score in scores if score.curve is not None]
        curve = torch.stack(curves, 1) if curves else None
        return replace(scores[0], values=torch.stack([score.values for score in scores], 1), curve=curve)


class Evaluation:
    """What metrics score against: a batch of images and a scorer for the target that the maps were made for.

    Metrics of one batch share one evaluation, and keep in it what another metric may need.

    Attributes
    ----------
    images
        [B,C,H,W] as the model takes them, on its device.
    score
        Scores further images for the target: see `xai_core.perturb.ModelScorer`.
    model
        The model, which is not to be changed; metrics that need a changed one copy it.
    """

    def __init__(
        self,
        images: Float[Tensor, "B C H W"],
        scorer: ModelScorer,
        model: nn.Module,
        masks: Bool[Tensor, "B H W"] | None = None,
    ) -> None:
        self.images, self.model_score, self.model = images, scorer, model
        self._masks = masks
        self._kept: dict[Hashable, Any] = {}

    @property
    def masks(self) -> Bool[Tensor, "B H W"]:
        """Where the truth is in each image, on the model's device; at least one pixel.

        Raises
        ------
        NoGroundTruthError
            Where no masks were given.
        """
        if self._masks is None:
            raise NoGroundTruthError("the metric compares maps with the truth; give masks=[B,H,W], true where it is")
        return self._masks

    def once(self, key: Hashable, compute: Callable[[], Kept]) -> Kept:
        """Compute what `key` names, or give what was computed before in this batch."""
        if key not in self._kept:
            self._kept[key] = compute()
        return self._kept[key]


class Metric(Configurable, ABC):
    """A measure of how well a map explains a model. Subclasses set `name` and `higher_is_better`.

    Where an option decides the direction, `__init__` sets `higher_is_better` on the object.

    A metric that reads `Evaluation.masks` sets `needs_ground_truth`, so that it is asked only where the truth is known.
    """

    higher_is_better: bool
    needs_ground_truth: ClassVar[bool] = False

    @abstractmethod
    def evaluate(self, evaluation: Evaluation, saliency: Saliency) -> MetricResult:
        """Score the maps of a batch; each image's number depends on nothing else in the batch."""
