"""What metrics are tried with: maps, a truth, and a wrapper that looks on."""

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
from xai_core.testing.host_reads import host_reads


class GradientTimesImage(Explainer):
    """The gradient at the images times the images, by magnitude, summed over channels: maps to be scored."""

    name = "gradient-times-image"

    def needs(self, adapter: ModelAdapter) -> Needs:
        return Needs(image_gradient=True)

    def explain(self, captured: Captured) -> Float[Tensor, "B H W"]:
        return (captured.image_gradient * captured.images).abs().sum(1)


@dataclass
class MetricCase:
    """A metric, and what it scores."""

    metric: Metric

    def maps(self, model: nn.Module, images: Tensor, target: Any = 1) -> Saliency:
        """Maps that can be made again, for one class."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConstantMapWarning)
            [saliency] = Engine(model).explain(images, GradientTimesImage(), target).values()
        return saliency

    def score(
        self, model: nn.Module, images: Tensor, saliency: Saliency, metric: Metric | None = None, **options: Any
    ) -> MetricResult:
        """The scores of maps, against a truth in the middle where the metric asks for one."""
        masks = truth(images) if self.metric.needs_ground_truth else None
        [[score]] = [
            one.values()
            for one in Engine(model, **options).evaluate(images, {"m": saliency}, metric or self.metric, masks).values()
        ]
        return score


def truth(images: Tensor) -> Bool[Tensor, "B H W"]:
    """Masks of another box for each image."""
    masks = torch.zeros(len(images), *images.shape[-2:], dtype=torch.bool)
    for place, mask in enumerate(masks):
        mask[8 + place : 20, 6 : 22 + place] = True
    return masks


def remade(saliency: Saliency, raw: Tensor, places: slice = slice(None)) -> Saliency:
    """The same maps with other relevance."""
    size = (saliency.values.shape[-2], saliency.values.shape[-1])
    assert not isinstance(saliency.target, tuple)
    return Saliency.of(raw[places], len(raw[places]), size, saliency.target, "map", saliency.explain_again)


class Watched(Metric):
    """A metric round another, which notes what that reads on the host, and what it writes to."""

    def __init__(self, metric: Metric) -> None:
        self.inner = metric
        self.name = metric.name  # type: ignore[misc]
        self.higher_is_better = metric.higher_is_better
        self.needs_ground_truth = metric.needs_ground_truth  # type: ignore[misc]
        self.reads: list[str] = []
        self.written: list[str] = []

    @property
    def spec(self) -> str:
        return self.inner.spec

    def evaluate(self, evaluation: Evaluation, saliency: Saliency) -> MetricResult:
        given = {"images": evaluation.images, "values": saliency.values, "raw relevance": saliency.raw}
        before = {name: tensor.clone() for name, tensor in given.items()}
        with host_reads() as reads:
            score = self.inner.evaluate(evaluation, saliency)
        self.reads += reads
        self.written += [name for name, tensor in given.items() if not torch.equal(tensor, before[name])]
        return score
