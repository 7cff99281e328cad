"""Test case for explainers: compatible models, and explainer wrappers that record what happens."""

import contextlib
import copy
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from xai_core.capture.captured import Captured
from xai_core.capture.needs import Needs
from xai_core.engine import Engine
from xai_core.errors import ConstantMapWarning, UnsuitableError
from xai_core.explainer import Explainer
from xai_core.model.adapter import ModelAdapter
from xai_core.plugins.creation import create_explainer
from xai_core.saliency import Relevance, Saliency
from xai_core.targets.box import Box
from xai_core.testing.check import require
from xai_core.testing.host_transfers import host_transfers
from xai_core.testing.networks import fallback_networks, networks, random_images
from xai_core.testing.probed_networks import probed_engine

ROUNDING = 1e-5
"""Largest rounding difference between values in [0,1], for models in float64."""


@dataclass
class ExplainerCase:
    """An explainer and the models that it is tested on.

    Attributes
    ----------
    explainer
        The tested explainer.
    candidates
        Models to test on, by the name that messages use. Default: the built-in networks.
    """

    explainer: Explainer
    candidates: dict[str, nn.Module] | None = None
    _engines: dict[str, Engine] = field(default_factory=dict)
    _reference: dict[str, Saliency] = field(default_factory=dict)

    @cached_property
    def models(self) -> dict[str, nn.Module]:
        """The candidates that the explainer supports."""
        if self.candidates is not None:
            return self._supported(self.candidates)
        return self._supported(networks()) or self._supported(fallback_networks())

    def require_models(self) -> None:
        """Require at least one supported model."""
        require(
            bool(self.models),
            "`needs` raised UnsuitableError for every tested model; provide a model that the explainer supports, with "
            "`models={name: model}` or `xai plugin check --model SPEC`",
        )

    def each(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the name and a copy of each supported model."""
        self.require_models()
        for label, model in self.models.items():
            yield label, copy.deepcopy(model)

    def engine(self, label: str, model: nn.Module, **options: Any) -> Engine:
        """Return an engine for a copy of a supported model. The model is probed once for all copies."""
        return Engine(model, **options)._with_probes_of(self._engines[label])

    def _supported(self, models: dict[str, nn.Module]) -> dict[str, nn.Module]:
        supported = {}
        for label, model in models.items():
            engine = Engine(model) if self.candidates else probed_engine(label, model)
            with contextlib.suppress(UnsuitableError):
                self.explainer.needs(engine.adapter(random_images()))
                supported[label], self._engines[label] = model, engine
        return supported

    def explain(self, engine: Engine, images: Tensor, target: Any = 1) -> Saliency:
        """Return the maps of images, without warnings about constant maps.

        The target of a detector is its best detection of the class.
        """
        if engine.adapter(images).probe.detections is not None:
            target = Box(label=target, overlap=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConstantMapWarning)
            [saliency] = engine.explain(images, [self.explainer], target).values()
        return saliency

    def reference(self, label: str) -> Saliency:
        """Return the maps of class 1 for a float64 copy of a model. They are computed once."""
        if label not in self._reference:
            engine = self.engine(label, copy.deepcopy(self.models[label]).double())
            self._reference[label] = self.explain(engine, random_images().double())
        return self._reference[label]


class ExplainerWrapper(Explainer):
    """Explainer that delegates to another explainer. Base class of recorders."""

    def __init__(self, explainer: Explainer) -> None:
        self.inner = explainer
        self.name = explainer.name  # type: ignore[misc]
        self.targeted = explainer.targeted  # type: ignore[misc]

    @property
    def spec(self) -> str:
        return self.inner.spec

    def needs(self, adapter: ModelAdapter) -> Needs:
        return self.inner.needs(adapter)

    def forward_passes(self, adapter: ModelAdapter) -> int:
        return self.inner.forward_passes(adapter)

    def explain(self, captured: Captured) -> Tensor | Relevance:
        return self.inner.explain(captured)


class RelevanceRecorder(ExplainerWrapper):
    """Explainer wrapper that records the relevance tensors that `explain` returns."""

    def __init__(self, explainer: Explainer) -> None:
        super().__init__(explainer)
        self.recorded: list[Any] = []

    def explain(self, captured: Captured) -> Tensor | Relevance:
        relevance = super().explain(captured)
        self.recorded.append(relevance.map if isinstance(relevance, Relevance) else relevance)
        return relevance


class WriteRecorder(ExplainerWrapper):
    """Explainer wrapper that records which captured tensors change in `explain`."""

    def __init__(self, explainer: Explainer) -> None:
        super().__init__(explainer)
        self.written: dict[str, None] = {}

    def explain(self, captured: Captured) -> Tensor | Relevance:
        before = [(name, tensor, tensor.clone()) for name, tensor in captured._record.tensors()]
        relevance = super().explain(captured)
        self.written |= {name: None for name, tensor, copied in before if not torch.equal(tensor, copied)}
        return relevance


class HostTransferRecorder(ExplainerWrapper):
    """Explainer wrapper that records the device-to-host transfers in `explain`."""

    def __init__(self, explainer: Explainer) -> None:
        super().__init__(explainer)
        self.transfers: list[str] = []

    def explain(self, captured: Captured) -> Tensor | Relevance:
        with host_transfers() as transfers:
            relevance = super().explain(captured)
        self.transfers += transfers
        return relevance


class DeliberateError(Exception):
    """Exception that a check raises on purpose inside a model."""


class RaisingHook:
    """Forward hook that raises DeliberateError at its n-th call.

    Parameters
    ----------
    call
        Number of the call that raises, from 1.
    """

    def __init__(self, call: int) -> None:
        self.remaining = call

    def __call__(self, *_: Any) -> None:
        self.remaining -= 1
        if not self.remaining:
            raise DeliberateError


def require_same(values: Tensor, expected: Tensor, what: str) -> None:
    """Require that values in [0,1] are equal up to rounding."""
    difference = largest_difference(values, expected)
    require(difference <= ROUNDING, f"{what}: maps differ by {difference:.2g} of their range")


def largest_difference(values: Tensor, other: Tensor) -> float:
    """Return the largest absolute difference of two tensors, or infinity if their shapes differ."""
    if values.shape != other.shape:
        return math.inf
    return (values - other).abs().amax().item()


def as_explainer(explainer: str | Explainer | type[Explainer]) -> Explainer:
    """Return an explainer from a spec, an object, or a class without required options."""
    if isinstance(explainer, str):
        return create_explainer(explainer)
    return explainer() if isinstance(explainer, type) else explainer
