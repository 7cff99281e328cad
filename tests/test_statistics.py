"""What a benchmark concludes from scores: against closed forms, published tables and simulations."""

import math

import numpy as np
import pytest
from scipy import stats

from xai_core.benchmark import statistics
from xai_core.benchmark.summary import in_words


def compared(table: np.ndarray, higher_is_better: bool = True) -> statistics.Comparison:
    scores = {f"m{i}": dict(enumerate(column.tolist())) for i, column in enumerate(table.T)}
    return statistics.compare("model", "metric", scores, {}, {}, higher_is_better)


def test_the_interval_is_that_of_a_bootstrap_loop() -> None:
    values = np.random.default_rng(1).gamma(1.0, 1.0, 60)
    found = statistics.estimate(values)
    rng = np.random.default_rng(7)
    means = [rng.choice(values, len(values)).mean() for _ in range(20_000)]
    assert found.mean == values.mean()
    assert (found.low, found.high) == pytest.approx(np.quantile(means, [0.025, 0.975]), abs=0.012)


def test_the_interval_holds_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    found = [statistics.estimate(rng.normal(0.3, 1, 40)) for _ in range(200)]
    assert 0.90 <= np.mean([one.low <= 0.3 <= one.high for one in found]) <= 0.98


def test_one_image_or_constant_scores_have_no_width() -> None:
    for values in (np.array([0.5]), np.full(9, 0.5)):
        assert statistics.estimate(values) == statistics.Estimate(0.5, 0.5, 0.5)


def test_intervals_of_differences_are_paired() -> None:
    """Images that differ much, methods that differ by the same little on each."""
    images = np.random.default_rng(2).normal(0, 10, 50)
    table = np.stack([images + 0.1 + np.random.default_rng(3).normal(0, 0.01, 50), images], 1)
    [pair] = compared(table).pairs
    assert pair.better == "m0"
    assert 0.09 < pair.difference.low < pair.difference.high < 0.11
    assert pair.supported
    first, second = (one.estimate for one in compared(table).standings)
    assert first.low < second.high


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert statistics.holm([]) == []


def test_wilcoxon_of_all_same_signs_is_the_exact_one() -> None:
    differences = np.arange(1, 11) / 10
    assert statistics.wilcoxon(differences) == pytest.approx(2 / 2**10)
    assert statistics.wilcoxon(-differences) == pytest.approx(2 / 2**10)
    assert statistics.wilcoxon(np.zeros(5)) == 1


def test_the_critical_difference_is_that_of_demsars_table_5() -> None:
    """For two to ten methods, q at 0.05 is 1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164."""
    table = {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}
    for methods, q in table.items():
        expected = q * math.sqrt(methods * (methods + 1) / (6 * 14))
        assert statistics.critical_difference(methods, 14) == pytest.approx(expected, abs=1e-3)


def test_friedman_and_ranks() -> None:
    table = np.random.default_rng(4).normal(size=(30, 4)) + np.array([0, 0, 0.5, 2])
    found = compared(table)
    assert found.friedman == pytest.approx(stats.friedmanchisquare(*table.T).pvalue)
    assert found.friedman < 0.001
    assert [one.method for one in found.standings][:2] == ["m3", "m2"]
    assert sum(found.mean_ranks.values()) == pytest.approx(10)
    assert compared(table, higher_is_better=False).standings[-1].method == "m3"
    assert compared(np.ones((5, 3))).friedman == 1


def test_only_images_that_all_have_scored_are_compared() -> None:
    scores = {"a": {0: 1.0, 1: 0.0, 2: 0.5}, "b": {0: 0.5, 2: 0.5, 3: 9.0}}
    found = statistics.compare("model", "metric", scores, {"b": 1}, {"c": "broken"}, True)
    assert found.images == 2
    assert {one.method: one.estimate.mean for one in found.standings} == {"a": 0.75, "b": 0.5}
    assert {one.method: one.failed for one in found.standings} == {"a": 0, "b": 1}
    assert statistics.compare("model", "metric", {"a": {0: 1.0}, "b": {1: 1.0}}, {}, {}, True).images == 0


def test_what_the_data_supports_is_said() -> None:
    rng = np.random.default_rng(5)
    table = np.stack([rng.normal(0, 1, 60), rng.normal(0, 1, 60), rng.normal(3, 1, 60)], 1)
    [better, undecided] = in_words(compared(table))
    assert better.startswith("`m2` is better than `m")
    assert better.count("`") == 6
    assert undecided.startswith("Not decided by these 60 images: ")
    assert "`m2`" not in undecided
    assert in_words(compared(np.ones((4, 1)))) == [
        "There is one method with a score at metric, and nothing to compare it with."
    ]
    assert in_words(statistics.compare("model", "metric", {}, {}, {}, True)) == ["No method has a score at metric."]


def test_agreement_is_kendalls() -> None:
    table = np.random.default_rng(6).normal(size=(20, 5)) + np.arange(5)
    up, down = compared(table), compared(-table)
    same = statistics.agreement(up, compared(table * 2))
    reverse = statistics.agreement(up, down)
    assert same
    assert reverse
    assert (same.tau, reverse.tau) == pytest.approx((1, -1))
    assert same.p == pytest.approx(2 / math.factorial(5))
    assert statistics.agreement(compared(table[:, :2]), up) is None
    assert statistics.agreement(compared(np.ones((4, 3))), up) is None
