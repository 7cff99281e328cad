"""A plugin that misbehaves, its cost, and the error that names it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation, Relevance

EXPLAIN = "tests/isolation/test_misbehavior.py::test_explain"
BENCHMARK = "tests/benchmarking/test_misbehavior.py::test_benchmark"
ON_RAY = "tests/benchmarking/test_misbehavior.py::test_on_ray"


@dataclass(frozen=True, eq=False)
class Misbehavior:
    """A plugin that misbehaves.

    Attributes
    ----------
    plugin
        An explainer or metric, or something else that the tests of the kind expect.
    description
        What the plugin does.
    error
        Class of the error. None: the plugin's results are valid.
    message
        Regular expression for the error.
    cost
        What the plugin costs. Empty: the cost of the kind.
    changes_weights
        Whether the engine cannot restore the model.
    key
        Identifier. Default: the name of the plugin.
    """

    plugin: Any
    description: str
    error: type[Exception] | None = None
    message: str = ""
    cost: str = ""
    changes_weights: bool = False
    key: str = ""

    @property
    def name(self) -> str:
        return self.key or self.plugin.name


@dataclass(frozen=True, eq=False)
class Kind:
    """Plugins that misbehave in similar ways.

    Attributes
    ----------
    name
        Name in the ids of tests.
    heading
        Heading on the page.
    cost
        What each of the plugins costs, unless the case states another cost.
    cases
        The plugins.
    time_limit
        Seconds for each image.
    tests
        Test functions that run each case or the whole kind. Or files, whose functions are the names of the cases.
    """

    name: str
    heading: str
    cost: str
    cases: tuple[Misbehavior, ...]
    time_limit: float = 10
    tests: tuple[str, ...] = (EXPLAIN, BENCHMARK)

    @property
    def explainers(self) -> list[xai.Explainer]:
        return [case.plugin for case in self.cases if isinstance(case.plugin, xai.Explainer)]

    @property
    def metrics(self) -> list[xai.Metric]:
        return [case.plugin for case in self.cases if isinstance(case.plugin, xai.Metric)]


def nothing(*_: Any) -> None:
    pass


def same(value: Any) -> Any:
    return value


class BadExplainer(xai.Explainer):
    """Acts on what is captured, and returns a function of valid relevance.

    Parameters
    ----------
    act
        Receives the `Captured`.
    give
        Returns the result, from valid relevance [B,h,w].
    needs
        Fields of `Needs`, or a function that returns the `Needs` for an adapter.
    forward_passes
        Returns the number of passes.
    """

    def __init__(
        self,
        name: str,
        act: Callable[[xai.Captured], Any] = nothing,
        give: Callable[[Tensor], Any] = same,
        needs: Any = None,
        forward_passes: Callable[[xai.ModelAdapter], Any] = lambda adapter: 1,
    ) -> None:
        self.name = name  # type: ignore[misc]
        self._act, self._give, self._needs, self._forward_passes = act, give, needs, forward_passes

    @property
    def spec(self) -> str:
        return self.name

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        if callable(self._needs):
            return self._needs(adapter)
        return xai.Needs((adapter.default_layer,), **(self._needs or {}))

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        return self._forward_passes(adapter)

    def explain(self, captured: xai.Captured) -> Tensor | Relevance:
        relevance = captured.activation().mean(1) + 1
        self._act(captured)
        return self._give(relevance)


class BadMetric(xai.Metric):
    """Acts on the evaluation and the maps, and returns a function of valid scores [B]."""

    higher_is_better = True

    def __init__(
        self,
        name: str,
        act: Callable[[Evaluation, xai.Saliency], Any] = nothing,
        give: Callable[[Tensor], Any] = xai.MetricResult,
    ) -> None:
        self.name = name  # type: ignore[misc]
        self._act, self._give = act, give

    @property
    def spec(self) -> str:
        return self.name

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        scores = saliency.values.mean((1, 2))
        self._act(evaluation, saliency)
        return self._give(scores)
