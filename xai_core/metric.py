"""Base class of metrics, and what metrics receive: images, a scorer for the target, and ground-truth masks."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xai_core.configurable import Configurable
from xai_core.errors import NoGroundTruthError
from xai_core.model_scorer import ModelScorer
from xai_core.outputs import tensors_in
from xai_core.saliency import Saliency
from xai_core.visualization.drawable_result import DrawableResult

Kept = TypeVar("Kept")


@dataclass(frozen=True, eq=False, repr=False)
class MetricResult(DrawableResult):
    """A metric's result for a batch, on the model's device.

    `len(result)` is the number of images B. `result[i]` and `result[i:j]` select images, and `result.to(device)` moves
    all tensors. Results can be pickled and saved with `torch.save`.

    Attributes
    ----------
    values
        [B], one number per image, or [B,T] if the maps have T targets.
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

    _unbatched = ("fractions",)

    @classmethod
    def of_targets(cls, results: "Sequence[MetricResult]") -> "MetricResult":
        """Return the results for T targets as one result, with [B,T] values and [B,T,S+1] curves."""
        curves = [result.curve for result in results if result.curve is not None]
        curve = torch.stack(curves, 1) if curves else None
        return replace(results[0], values=torch.stack([result.values for result in results], 1), curve=curve)


class Evaluation:
    """A batch of images with a scorer for the target of the maps, as metrics receive it.

    All metrics of one target share one evaluation. The metrics of a package share intermediate results with `once`.

    Attributes
    ----------
    images
        [B,C,H,W] or [B,C,D,H,W] as the model receives them, on its device.
    model_score
        Scores other images for the target. See `xai_core.model_scorer.ModelScorer`.
    model
        The model. Metrics must not change it. A metric that needs a changed model must change a copy.
    """

    def __init__(
        self,
        images: Float[Tensor, "B C *size"],
        scorer: ModelScorer,
        model: nn.Module,
        masks: Bool[Tensor, "B *size"] | None = None,
    ) -> None:
        self.images, self.model_score, self.model = images, scorer, model
        self._masks, self._package = masks, ""
        self._kept: dict[Hashable, Any] = {}

    def _tensors(self, saliency: Saliency) -> Iterator[tuple[str, Tensor]]:
        """Yield every tensor that a metric of this evaluation and these maps can receive, with its description."""
        parts = {
            "the images": self.images,
            "the masks": self._masks,
            "the maps or their target": saliency,
            "results in `once`": self._kept,
        }
        return ((name, tensor) for name, part in parts.items() for tensor in tensors_in(part))

    @property
    def masks(self) -> Bool[Tensor, "B *size"]:
        """The ground-truth mask of each image, on the model's device, with at least one true pixel.

        Raises
        ------
        NoGroundTruthError
            If the caller passed no masks.
        """
        if self._masks is None:
            raise NoGroundTruthError(
                "this metric compares maps with ground-truth masks; pass `masks=`, a bool tensor [B,H,W], or [B,D,H,W] "
                "for volumes, that is true inside the ground truth"
            )
        return self._masks

    def once(self, key: Hashable, compute: Callable[[], Kept]) -> Kept:
        """Return `compute()`, which runs only the first time that a key is used with this batch and target.

        Metrics of different packages do not share results.
        """
        own = self._package, key
        if own not in self._kept:
            self._kept[own] = compute()
        return self._kept[own]

    def _of(self, package: str) -> "Evaluation":
        """Return a copy for a metric, which shares intermediate results with the metrics of its package."""
        own = copy.copy(self)
        own._package = package
        return own


class Metric(Configurable, ABC):
    """Base class of metrics, which measure how well a map explains a model.

    A subclass sets `name` and `higher_is_better`. If an option decides the direction, `__init__` sets
    `higher_is_better` on the object.

    A metric that reads `Evaluation.masks` sets `needs_ground_truth`. The benchmark then uses it only with datasets that
    have ground truth.
    """

    higher_is_better: bool
    needs_ground_truth: ClassVar[bool] = False

    @abstractmethod
    def evaluate(self, evaluation: Evaluation, saliency: Saliency) -> MetricResult:
        """Score the maps of a batch. The score of an image must not depend on the rest of the batch."""
