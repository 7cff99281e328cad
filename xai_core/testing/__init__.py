"""The conformance kit: what is promised of explainers, metrics, adapters, models and data, as checks to run.

    from xai_core.testing import check_explainer, parametrize_with_checks

    @parametrize_with_checks(check_explainer(MyCAM))
    def test_promises(check):
        check()

Without pytest: `xai plugin check DISTRIBUTION`, or call each check. One check is one promise, and a failure says what
was expected, what came, and what to do. What a subject cannot keep by its nature is declared with the reason, in the
class as `expected_failures` or where the checks are made; it must then fail.
"""

from xai_core.testing.adapters import check_adapter
from xai_core.testing.check import Check, FailedCheckError, Outcome, Result, run_checks
from xai_core.testing.datasets import check_dataset
from xai_core.testing.explainers import check_explainer
from xai_core.testing.metrics import check_metric
from xai_core.testing.model_sources import check_model_source
from xai_core.testing.parametrize import parametrize_with_checks

__all__ = [
    "Check",
    "FailedCheckError",
    "Outcome",
    "Result",
    "check_adapter",
    "check_dataset",
    "check_explainer",
    "check_metric",
    "check_model_source",
    "parametrize_with_checks",
    "run_checks",
]
