"""What a benchmark concludes from scores: against closed forms, published tables and simulations."""

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from xai_core.benchmarking import bootstrap, comparison, statistics
from xai_core.benchmarking.bootstrap import resampled_means
from xai_core.benchmarking.conclusions import conclusions

NONE = math.nan


def scores(table: np.ndarray, higher_is_better: bool = True, error: str = "broken") -> comparison.ScoreMatrix:
    methods = [f"m{i}" for i in range(table.shape[1])]
    failed = np.isnan(table).sum(0).tolist()
    errors = {method: Counter({error: count} if count else {}) for method, count in zip(methods, failed, strict=True)}
    return comparison.ScoreMatrix("model", "metric", higher_is_better, methods, table, errors)


def compared(table: np.ndarray, higher_is_better: bool = True) -> comparison.MethodComparison:
    [found] = comparison.compare([scores(table, higher_is_better)])
    return found


def estimate(values: np.ndarray) -> statistics.Estimate:
    [means] = resampled_means([values[:, None]])
    return statistics.estimate(float(values.mean()), means[:, 0])


def ends(of: statistics.Estimate) -> tuple[float, float]:
    assert of.low is not None
    assert of.high is not None
    return of.low, of.high


def test_the_interval_is_that_of_scipys_bootstrap() -> None:
    values = np.random.default_rng(1).gamma(1.0, 1.0, 60)
    found = estimate(values)
    by_scipy = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=7)
    assert found.mean == values.mean()
    assert ends(found) == pytest.approx(tuple(by_scipy.confidence_interval), abs=0.012)


def test_the_interval_of_zeros_and_ones_is_the_binomials() -> None:
    """The mean of a resample of 30 % ones among 1000 is binomial, over 1000."""
    found = estimate((np.arange(1000) < 300).astype(float))
    assert ends(found) == pytest.approx(stats.binom(1000, 0.3).ppf([0.025, 0.975]) / 1000, abs=0.0021)


def test_the_interval_holds_the_mean_about_as_often_as_it_says() -> None:
    table = np.random.default_rng(0).normal(0.3, 1, (40, 400))
    found = [ends(statistics.estimate(0.3, drawn)) for drawn in resampled_means([table])[0].T]
    assert 0.91 <= np.mean([low <= 0.3 <= high for low, high in found]) <= 0.97


def test_one_image_has_no_interval_and_constant_scores_one_of_no_width() -> None:
    assert estimate(np.array([0.5])) == statistics.Estimate(0.5, None, None)
    assert estimate(np.full(9, 0.5)) == statistics.Estimate(0.5, 0.5, 0.5)
    one = compared(np.array([[0.5, 0.7, 0.1]]))
    assert [pair.difference.low for pair in one.pairs] == [None] * 3
    assert not any(pair.supported for pair in one.pairs)
    [undecided] = conclusions(one)
    assert undecided.startswith("Undecided on this image: ")


def test_resamples_are_the_same_rows_in_every_column_and_table() -> None:
    rng = np.random.default_rng(2)
    first, second, longer = rng.normal(size=(30, 3)), rng.normal(size=(30, 2)), rng.normal(size=(31, 1))
    together = resampled_means([first, longer, second])
    alone = [resampled_means([table])[0] for table in (first, longer, second)]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    [mixed] = resampled_means([first[:, :2] - second])
    np.testing.assert_allclose(mixed, together[0][:, :2] - together[2], rtol=0, atol=1e-12)


def test_resamples_do_not_depend_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.random.default_rng(3).normal(size=(50, 2))
    [whole] = resampled_means([table])
    monkeypatch.setattr(bootstrap, "_BLOCK", 70)
    np.testing.assert_allclose(resampled_means([table])[0], whole, rtol=0, atol=1e-12)


def test_intervals_of_differences_are_paired() -> None:
    """Images that differ much, methods that differ by the same little on each."""
    images = np.random.default_rng(2).normal(0, 10, 50)
    table = np.stack([images + 0.1 + np.random.default_rng(3).normal(0, 0.01, 50), images], 1)
    [pair] = compared(table).pairs
    assert pair.better == "m0"
    low, high = ends(pair.difference)
    assert 0.09 < low < high < 0.11
    assert pair.supported
    first, second = (ends(one.estimate) for one in compared(table).standings)
    assert first[0] < second[1]


@pytest.mark.parametrize("direction", [1, -1])
def test_ranks_that_point_the_other_way_support_nothing(direction: int) -> None:
    """A method far better on 20 images and slightly worse on 80: the mean is for it, the signed ranks against it."""
    rng = np.random.default_rng(0)
    differences = np.concatenate([rng.normal(12, 1, 20), rng.normal(-0.5, 0.1, 80)])
    table = direction * np.stack([differences, np.zeros(100)], 1)
    found = compared(table, higher_is_better=direction > 0)
    [pair] = found.pairs
    low, high = ends(pair.difference)
    assert pair.better == "m0"
    assert pair.p < 0.05
    assert direction * low > 0
    assert direction * high > 0
    # all 80 have ranks below those of the 20
    assert pair.rank_biserial == pytest.approx((100 * 101 / 2 - 2 * 80 * 81 / 2) / (100 * 101 / 2))
    assert not pair.supported
    assert conclusions(found) == ["Undecided on these 100 images: `m0` versus `m1`."]


@pytest.mark.parametrize("size", [1e-4, 1.0, 1e4])
def test_differences_of_rounding_are_none(size: float) -> None:
    """Two methods that are the same but for rounding, which always favors one."""
    rng = np.random.default_rng(1)
    images = rng.uniform(0.5, 1.5, 200)
    table = size * np.stack([images, images * (1 + 1e-8), images - 0.1 + rng.normal(0, 0.01, 200)], 1)
    found = compared(table)
    assert [(one.method, one.rank) for one in found.standings] == [("m0", 1.5), ("m1", 1.5), ("m2", 3)]
    assert found.mean_ranks == {"m0": 1.5, "m1": 1.5, "m2": 3}
    same = found.pairs[0]
    assert (same.difference, same.rank_biserial, same.p) == (statistics.Estimate(0, 0, 0), 0, 1)
    assert [pair.supported for pair in found.pairs] == [False, True, True]
    alike = compared(size * images[:, None] * (1 + 1e-8 * np.arange(3)))
    assert alike.friedman == 1
    assert {one.rank for one in alike.standings} == {2}


def test_what_is_more_than_rounding_counts() -> None:
    table = np.array([[1.0, 1.0 + 1e-5, 1.0 + 2e-5]] * 30)
    assert [one.method for one in compared(table).standings] == ["m2", "m1", "m0"]
    assert all(pair.supported for pair in compared(table).pairs)


def test_one_score_beyond_all_others_hides_no_difference() -> None:
    table = np.random.default_rng(0).normal(size=(100, 3)) + np.array([0, 0.5, 1])
    expected = compared(table)
    table[0, 0] = -1e9
    found = compared(table)
    assert [one.rank for one in found.standings] == [1, 2, 3]
    assert [pair.supported for pair in found.pairs] == [True, True, True]
    assert found.mean_ranks == pytest.approx(expected.mean_ranks, abs=0.02)


def test_ranks_that_balance_are_zero_without_a_sign() -> None:
    [pair] = compared(np.ones((4, 2)), higher_is_better=False).pairs
    assert math.copysign(1, pair.rank_biserial) == 1


def test_ties_chain_through_neighbors() -> None:
    table = np.array([[0.0, 3.0, 0.6, 1.2], [2.0, 1.0, 4.0, 3.0]])
    np.testing.assert_array_equal(statistics.merge_ties(table, 0.7), [[0, 3, 0, 0], [2, 1, 4, 3]])


def test_the_rank_biserial_correlation_by_hand() -> None:
    assert statistics.rank_biserial(np.array([1.0, 2.0, -3.0, 4.0, 0.0])) == pytest.approx((1 + 2 - 3 + 4) / 10)
    assert statistics.rank_biserial(np.zeros(3)) == 0


def test_holm_by_hand() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.4, 0.9]) == pytest.approx([0.8, 0.9])
    assert statistics.holm([]) == []


def test_wilcoxon_of_all_same_signs_is_the_exact_one() -> None:
    differences = np.arange(1, 11) / 10
    assert statistics.wilcoxon(differences) == pytest.approx(2 / 2**10)
    assert statistics.wilcoxon(-differences) == pytest.approx(2 / 2**10)
    assert statistics.wilcoxon(np.zeros(5)) == 1


@pytest.mark.parametrize("zeros", [0, 6, 11, 60])
@pytest.mark.parametrize("others", [[1.0] * 4, [0.1, 0.2, 0.3, 0.4], [-1.0]])
def test_wilcoxon_of_few_differences_among_zeros_is_the_exact_one(zeros: int, others: list[float]) -> None:
    """All of one sign: two of the 2^n ways to give n signs are as far from balance."""
    differences = np.array([*others, *[0.0] * zeros])
    assert statistics.wilcoxon(differences) == 2 / 2 ** len(others)


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
    found = compared(np.array([[1.0, 0.5], [0.0, NONE], [0.5, 0.5], [NONE, 9.0], [NONE, NONE]]))
    assert (found.images, found.scored) == (2, 4)
    assert {one.method: one.estimate.mean for one in found.standings} == {"m0": 0.75, "m1": 0.5}
    assert {one.method: one.failed for one in found.standings} == {"m0": 2, "m1": 2}
    assert not found.excluded


def test_a_method_that_fails_on_most_images_is_set_apart() -> None:
    table = np.random.default_rng(0).normal(size=(50, 4))
    table[3:, 1] = NONE
    table[25:, 2] = NONE  # half of them is not most
    table[:, 3] = NONE
    found = compared(table)
    assert found.images == 25
    assert {one.method for one in found.standings} == {"m0", "m2"}
    assert found.excluded == {
        "m1": comparison.ExcludedMethod(3, 47, "broken"),
        "m3": comparison.ExcludedMethod(0, 50, "broken"),
    }


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ([[NONE, NONE]], "No method has a score for metric."),
        ([[1.0, NONE], [NONE, 1.0]], "No image has a score for metric from every method. There is no comparison."),
        (
            [[1.0, 1.0, 1.0], [1.0, NONE, NONE], [NONE, 1.0, NONE], [NONE, NONE, 1.0], [NONE, NONE, 1.0]],
            "Only `m2` has scores for metric, so there is no comparison.",
        ),
        (
            np.where([[1, 1, 1], *np.kron(np.eye(3), np.ones((2, 1)))], 1, NONE).tolist(),
            "Every method failed on more than half of the images for metric. There is no comparison.",
        ),
    ],
)
def test_why_nothing_is_compared_is_said(table: list[list[float]], said: str) -> None:
    found = compared(np.array(table))
    assert not found.pairs
    assert conclusions(found) == [said]
    assert {*found.excluded} | {one.method for one in found.standings} == {f"m{i}" for i in range(len(table[0]))}


def test_what_the_data_supports_is_said() -> None:
    rng = np.random.default_rng(5)
    table = np.stack([rng.normal(0, 1, 60), rng.normal(0, 1, 60), rng.normal(3, 1, 60)], 1)
    [better, undecided] = conclusions(compared(table))
    assert better == "`m2` is better than all others."
    assert undecided in {f"Undecided on these 60 images: `{one}`." for one in ("m0` versus `m1", "m1` versus `m0")}
    assert conclusions(compared(np.ones((4, 1)))) == ["Only `m0` has scores for metric, so there is no comparison."]


def test_many_methods_are_told_of_in_few_words() -> None:
    rng = np.random.default_rng(5)
    equal, ahead = rng.normal(0, 1, (60, 10)), rng.normal(3, 1, (60, 2))
    assert conclusions(compared(equal)) == ["Undecided on these 60 images: all 45 pairs of methods."]
    ahead[:, 1] = ahead[:, 0]
    assert conclusions(compared(np.hstack([ahead, equal]))) == [
        "`m0` and `m1` are each better than all others.",
        "Undecided on these 60 images: the other 46 of the 66 pairs of methods.",
    ]
    # what one of the two is not better than is named
    close = ahead[:, :1] - 0.05 + rng.normal(0, 0.01, (60, 1))
    between = ahead[:, :1] + rng.normal(0, 1, (60, 1))
    assert "`m2` and `m1` are each better than all others except `m0`." in conclusions(
        compared(np.hstack([ahead[:, :1], close, between, equal[:, :5]]))
    )


def test_agreement_is_kendalls() -> None:
    table = np.random.default_rng(6).normal(size=(20, 5)) + np.arange(5)
    up, down = compared(table), compared(-table)
    same = comparison.agreement(up, compared(table * 2))
    reverse = comparison.agreement(up, down)
    assert same
    assert reverse
    assert (same.tau, reverse.tau) == pytest.approx((1, -1))
    assert same.p == pytest.approx(2 / math.factorial(5))
    assert comparison.agreement(compared(table[:, :2]), up) is None
    assert comparison.agreement(compared(np.ones((4, 3))), up) is None
