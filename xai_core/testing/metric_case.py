"""Test case for metrics: maps to score, ground-truth masks, and a metric wrapper that records what happens."""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xai_core.capture.captured import Captured
from xai_core.capture.needs import Needs
from xai_core.engine import Engine
from xai_core.errors import ConstantMapWarning
from xai_core.explainer import Explainer
from xai_core.metric import Evaluation, Metric, MetricResult
from xai_core.model.adapter import ModelAdapter
from xai_core.saliency import Saliency
from xai_core.testing.host_transfers import host_transfers
from xai_core.testing.probed_networks import probed_engine


class GradientTimesImage(Explainer):
    """Absolute value of the image times its gradient, summed over channels. Computes the maps that metrics score."""

    name = "gradient-times-image"

    def needs(self, adapter: ModelAdapter) -> Needs:
        return Needs(image_gradient=True)

    def explain(self, captured: Captured) -> Float[Tensor, "B H W"]:
        return (captured.image_gradient * captured.images).abs().sum(1)


@dataclass
class MetricCase:
    """A metric under test.

    Attributes
    ----------
    metric
        The tested metric.
    """

    metric: Metric

    def engine(self, model: nn.Module, **options: Any) -> Engine:
        """Return an engine for a built-in network."""
        return probed_engine(type(model).__name__, model, **options)

    def maps(self, model: nn.Module, images: Tensor, target: Any = 1) -> Saliency:
        """Return maps of one class, which metrics can recompute for other images."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConstantMapWarning)
            [saliency] = self.engine(model).explain(images, GradientTimesImage(), target).values()
        return saliency

    def score(
        self, model: nn.Module, images: Tensor, saliency: Saliency, metric: Metric | None = None, **options: Any
    ) -> MetricResult:
        """Score maps, with the masks of `ground_truth` if the metric needs them.

        Parameters
        ----------
        metric
            A wrapper to use instead of the tested metric.
        options
            Options of `Engine`.
        """
        masks = ground_truth(images) if self.metric.needs_ground_truth else None
        results = self.engine(model, **options).evaluate(images, {"map": saliency}, metric or self.metric, masks)
        [[result]] = [by_metric.values() for by_metric in results.values()]
        return result


def ground_truth(images: Tensor) -> Bool[Tensor, "B H W"]:
    """Return a mask for each image: a box near the center, of a different size for each image."""
    masks = torch.zeros(len(images), *images.shape[-2:], dtype=torch.bool)
    for index, mask in enumerate(masks):
        mask[8 + index : 20, 6 : 22 + index] = True
    return masks


def with_relevance(saliency: Saliency, raw: Tensor) -> Saliency:
    """Return a copy of maps whose relevance is `raw` [B,h,w]."""
    size = (saliency.values.shape[-2], saliency.values.shape[-1])
    assert not isinstance(saliency.target, tuple)
    return Saliency.of(raw, len(raw), size, saliency.target, "map", saliency.explain_again)


class MetricRecorder(Metric):
    """Metric wrapper that records device-to-host transfers and in-place writes to the inputs."""

    def __init__(self, metric: Metric) -> None:
        self.inner = metric
        self.name = metric.name  # type: ignore[misc]
        self.higher_is_better = metric.higher_is_better
        self.needs_ground_truth = metric.needs_ground_truth  # type: ignore[misc]
        self.transfers: list[str] = []
        self.written: dict[str, None] = {}

    @property
    def spec(self) -> str:
        return self.inner.spec

    def evaluate(self, evaluation: Evaluation, saliency: Saliency) -> MetricResult:
        before = [(name, tensor, tensor.clone()) for name, tensor in evaluation._tensors(saliency)]
        with host_transfers() as transfers:
            result = self.inner.evaluate(evaluation, saliency)
        self.transfers += transfers
        self.written |= {name: None for name, tensor, copied in before if not torch.equal(tensor, copied)}
        return result
