"""Conformance tests for plugins: checks of explainers, metrics, model adapters, model sources and datasets.

    from xai_core.testing import check_explainer, parametrize_with_checks

    @parametrize_with_checks(check_explainer(MyCAM))
    def test_conformance(check):
        check()

Without pytest, run `xai plugin check PACKAGE`, or call each check. A failure states what was expected, what was
received and what to do. If a component cannot pass a check by design, declare the reason in the class attribute
`expected_failures`, or pass it as the argument `expected_failures`. A declared check must then fail.
"""

from xai_core.testing.adapters import check_adapter
from xai_core.testing.check import Check, CheckResult, FailedCheckError, Outcome, run_checks
from xai_core.testing.datasets import check_dataset
from xai_core.testing.explainers import check_explainer
from xai_core.testing.metrics import check_metric
from xai_core.testing.model_sources import check_model_source
from xai_core.testing.parametrize import parametrize_with_checks

__all__ = [
    "Check",
    "CheckResult",
    "FailedCheckError",
    "Outcome",
    "check_adapter",
    "check_dataset",
    "check_explainer",
    "check_metric",
    "check_model_source",
    "parametrize_with_checks",
    "run_checks",
]
