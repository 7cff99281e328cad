"""What explainers are tried with: models that they suit, and wrappers that look on."""

import contextlib
import copy
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from xai_core.capture.captured import Captured
from xai_core.capture.needs import Needs
from xai_core.engine import Engine
from xai_core.errors import ConstantMapWarning, UnsuitableError
from xai_core.explainer import Explainer
from xai_core.model.adapter import ModelAdapter
from xai_core.plugins.registry import create_explainer
from xai_core.saliency import Relevance, Saliency
from xai_core.testing.check import require
from xai_core.testing.host_reads import host_reads
from xai_core.testing.networks import more_networks, networks, pictures

ROUNDING = 1e-5
"""How far values in [0,1] may be apart that are the same but for rounding; compared where models are in float64."""


@dataclass
class ExplainerCase:
    """An explainer, and the models that it is tried on."""

    explainer: Explainer
    given: dict[str, nn.Module] | None = None
    _kept: dict[Any, Any] = field(default_factory=dict)

    @cached_property
    def models(self) -> dict[str, nn.Module]:
        """Those of the models that the explainer suits."""
        if self.given is not None:
            return self._suited(self.given)
        return self._suited(networks()) or self._suited(more_networks())

    def require_models(self) -> None:
        """Require a model to try it on."""
        require(
            bool(self.models),
            "`needs` raises UnsuitableError for every model that it was tried on; give one that it suits, as "
            "`models={name: model}` or `xai plugin check --model SPEC`",
        )

    def each(self) -> Iterator[tuple[str, nn.Module]]:
        """A copy of each model that it suits, with what it is called."""
        self.require_models()
        for called, model in self.models.items():
            yield called, copy.deepcopy(model)

    def _suited(self, models: dict[str, nn.Module]) -> dict[str, nn.Module]:
        suited = {}
        for called, model in models.items():
            with contextlib.suppress(UnsuitableError):
                self.explainer.needs(Engine(model).adapter(pictures()))
                suited[called] = model
        return suited

    def explain(self, model: nn.Module, images: Tensor, target: Any = 1, **options: Any) -> Saliency:
        """Its maps, whatever they are: flat ones are not warned of here."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConstantMapWarning)
            [saliency] = Engine(model, **options).explain(images, [self.explainer], target).values()
        return saliency

    def expected(self, called: str) -> Saliency:
        """What it gives for a model in float64, made once."""
        if called not in self._kept:
            self._kept[called] = self.explain(copy.deepcopy(self.models[called]).double(), pictures().double())
        return self._kept[called]


class Wrapped(Explainer):
    """An explainer round another, which looks on."""

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


class Keeping(Wrapped):
    """Keeps what is given."""

    def __init__(self, explainer: Explainer) -> None:
        super().__init__(explainer)
        self.made: list[Any] = []

    def explain(self, captured: Captured) -> Tensor | Relevance:
        given = super().explain(captured)
        self.made.append(given.map if isinstance(given, Relevance) else given)
        return given


class Watched(Wrapped):
    """Notes what is read on the host."""

    def __init__(self, explainer: Explainer) -> None:
        super().__init__(explainer)
        self.reads: list[str] = []

    def explain(self, captured: Captured) -> Tensor | Relevance:
        with host_reads() as reads:
            given = super().explain(captured)
        self.reads += reads
        return given


class DeliberateError(Exception):
    """Raised on purpose."""


class Failing:
    """A hook that raises at its n-th call."""

    def __init__(self, call: int) -> None:
        self.left = call

    def __call__(self, *_: Any) -> None:
        self.left -= 1
        if not self.left:
            raise DeliberateError


def require_same(given: Tensor, expected: Tensor, what: str) -> None:
    """Require values in [0,1] that are the same but for rounding."""
    most = apart(given, expected)
    require(most <= ROUNDING, f"{what}: maps differ by {most:.2g} of their range")


def apart(one: Tensor, other: Tensor) -> float:
    """How far values are apart at most."""
    if one.shape != other.shape:
        return math.inf
    return (one - other).abs().amax().item()


def made_of(explainer: str | Explainer | type[Explainer]) -> Explainer:
    """The explainer that is named, given, or made by a class without options."""
    if isinstance(explainer, str):
        return create_explainer(explainer)
    return explainer() if isinstance(explainer, type) else explainer
