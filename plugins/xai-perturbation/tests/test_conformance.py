"""The explainers pass the conformance checks."""

from support.conformance import explainer_checks
from xai_core.testing import Check, parametrize_with_checks


@parametrize_with_checks(explainer_checks("xai-perturbation"))
def test_explainers(check: Check) -> None:
    check()
