"""Running conformance checks: expected failures, and checks as parameters of a test."""

import pytest

from support.conformance import GoodExplainer, explainer
from xai_core.errors import OptionError
from xai_core.testing import FailedCheckError, Outcome, check_explainer, metrics, parametrize_with_checks, run_checks


def test_expected_failures_need_a_reason_and_a_check() -> None:
    with pytest.raises(OptionError, match="has no reason"):
        check_explainer(GoodExplainer, expected_failures={"retains_no_tensors": " "})
    with pytest.raises(OptionError, match="did you mean 'retains_no_tensors'"):
        check_explainer(GoodExplainer, expected_failures={"retain_no_tensors": "it does"})


def test_expected_failures_must_fail() -> None:
    declared = {"has_valid_name": "none is good enough"}
    for tested, outcome in (
        (explainer(name="My CAM"), Outcome.expected_failure),
        (GoodExplainer(), Outcome.unexpected_pass),
    ):
        result = next(run_checks(check_explainer(tested, expected_failures=declared)))
        assert (result.outcome, result.ok) == (outcome, outcome == Outcome.expected_failure)
        assert "none is good enough" in result.message
    in_class = explainer(name="My CAM", expected_failures=declared)
    assert next(run_checks(check_explainer(in_class))).outcome == Outcome.expected_failure


def test_checks_are_parameters_of_a_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import xai_core as xai
        from xai_core.testing import check_metric, parametrize_with_checks

        class Mine(xai.Metric):
            name = "mine"
            higher_is_better = True

            def evaluate(self, evaluation, saliency):
                return xai.MetricResult(saliency.values.mean((1, 2)))

        declared = {"better_map_scores_better": "it is not about faithfulness", "retains_no_tensors": "it passes"}

        @parametrize_with_checks(check_metric(Mine, expected_failures=declared))
        def test_conformance(check):
            check()
        """
    )
    result = pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    outcomes = result.parseoutcomes()
    assert outcomes == {"passed": len(metrics.CHECKS) - 3, "xfailed": 1, "failed": 2}
    result.stdout.fnmatch_lines(["*FAILED*mine-has_valid_name*", "*FAILED*mine-retains_no_tensors*"])


def test_a_failure_is_an_assertion() -> None:
    assert issubclass(FailedCheckError, AssertionError)
    assert parametrize_with_checks().name == "parametrize"
