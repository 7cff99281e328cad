"""Conformance checks of a plugin, and what they find in correct and in incorrect implementations."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from torch import Tensor, nn

import xai_core as xai
from support.explaining import FEWER
from xai_core.plugins.registry import registry
from xai_core.testing import Check, Outcome, check_explainer, check_metric, run_checks

# Specs with few steps, samples or parts, on which no check depends.
METRICS = {
    "aopc": "aopc:region=8",
    "deletion": "deletion:steps=6",
    "faithfulness-correlation": "faithfulness-correlation:samples=20",
    "infidelity": "infidelity:samples=20",
    "insertion": "insertion:steps=6",
    "irof": "irof:segments=12",
    "max-sensitivity": "max-sensitivity:samples=2",
    "parameter-randomization": "parameter-randomization:layers=2",
    "pixel-flipping": "pixel-flipping:region=8",
    "sensitivity-n": "sensitivity-n:samples=8",
    "srg": "srg:steps=6",
}


QUICK = {
    *("has_valid_name", "spec_round_trips", "declares_direction", "lists_model_names", "rejects_unknown_models"),
    *("returns_one_map_per_image", "returns_one_score_per_image", "returns_model_in_eval_mode"),
}
"""Checks that a quick run, without slow tests, includes for every component."""
WHOLLY_CHECKED = {"grad-cam", "generic-attention", "integrated-gradients:n_steps=4", "deletion:steps=6", "shapes-cbam"}
"""Components for which it includes every check, so that each promise is tested."""


def is_slow(check: object) -> bool:
    """Return whether a quick run leaves out a check. The checks that it leaves out take minutes together."""
    return isinstance(check, Check) and check.name not in QUICK and check.component not in WHOLLY_CHECKED


def names(kind: str, distribution: str) -> list[str]:
    """The names of all explainers or metrics of an installed distribution."""
    entries = registry().entries[kind]
    return sorted(name for name, entry in entries.items() if entry.plugin.distribution == distribution)


def explainer_checks(distribution: str, models: Mapping[str, Mapping[str, nn.Module]] | None = None) -> Iterator[Check]:
    """The checks of all explainers of a distribution; `models` maps names to other models than those of the checks."""
    for name in names("explainers", distribution):
        yield from check_explainer(FEWER.get(name, name), (models or {}).get(name))


def metric_checks(distribution: str) -> Iterator[Check]:
    """The checks of all metrics of a distribution."""
    for name in names("metrics", distribution):
        yield from check_metric(METRICS.get(name, name))


class GoodExplainer(xai.Explainer):
    """Gradient times activation."""

    name = "good"

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return xai.Needs(activations=(adapter.default_layer,), gradients=True)

    def explain(self, captured: xai.Captured) -> Tensor:
        return (captured.gradient() * captured.activation()).sum(1)


def explainer(explain: Callable[[xai.Captured, Tensor], Any] | None = None, **attributes: Any) -> xai.Explainer:
    """A `GoodExplainer` with other attributes; `explain` receives the map that a good one returns."""
    if explain is not None:
        good = GoodExplainer.explain
        attributes["explain"] = lambda self, captured: explain(captured, good(self, captured))
    return type("Bad", (GoodExplainer,), {"__doc__": "Bad.", **attributes})()  # type: ignore[no-any-return]


def assert_passes(checks: Iterable[Check]) -> None:
    """Run checks, all of which must pass."""
    results = list(run_checks(checks))
    assert results
    assert [(result.check.name, result.message) for result in results if result.outcome != Outcome.passed] == []


def assert_described(checks: Iterable[Check]) -> None:
    """Each check has a sentence that describes it, and its string ends with its name."""
    for check in checks:
        assert check.description.endswith(".")
        assert str(check).endswith(f": {check.name}")


def violations(subjects: Mapping[str, Sequence[tuple[Any, str]]]) -> list[Any]:
    """Parameters of a test: a check's name, a subject that violates it, and a pattern of the message."""
    return [
        pytest.param(name, subject, reason, id=f"{name}-{number}")
        for name, pairs in subjects.items()
        for number, (subject, reason) in enumerate(pairs)
    ]


def assert_finds(checks: Iterable[Check], name: str, reason: str) -> None:
    """The check of this name must fail with a message that matches the reason."""
    [check] = [check for check in checks if check.name == name]
    with pytest.raises(Exception, match=f"(?s){reason}") as raised:
        check()
    [result] = run_checks([check])
    assert result.outcome == Outcome.failed
    assert str(raised.value) in result.message
    assert not result.ok
