"""The metrics and the controls pass the conformance checks."""

from support.conformance import explainer_checks, metric_checks
from xai_core.testing import Check, parametrize_with_checks


@parametrize_with_checks(metric_checks("xai-faithfulness"))
def test_metrics(check: Check) -> None:
    check()


@parametrize_with_checks(explainer_checks("xai-faithfulness"))
def test_controls(check: Check) -> None:
    check()
