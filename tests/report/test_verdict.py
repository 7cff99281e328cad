"""The verdict of a run, and the colors of its methods."""

from support.comparisons import IMAGES, compared
from xai_core.report.controls import best_of, is_control, labeled
from xai_core.report.figures.styles import MethodStyle, method_styles
from xai_core.report.verdict import verdict


def test_a_method_is_best_if_the_data_supports_every_difference() -> None:
    leaders, controls = verdict([compared({"a": 3, "b": 2, "random": 1, "center": 0})])
    assert leaders == f"By `rise`, `a` is best among 2 methods on {IMAGES} images."
    assert controls == "By `rise`, all 2 methods are shown to be better than every control."


def test_undecided_leads_are_named() -> None:
    [leaders, _] = verdict([compared({"a": 3, "b": 3.001, "c": 1})])
    assert leaders in {
        "By `rise`, `a` leads, but its difference from `b` is undecided.",
        "By `rise`, `b` leads, but its difference from `a` is undecided.",
    }


def test_without_supported_differences_no_method_is_best() -> None:
    tied = compared({"a": 1, "b": 1.001})
    [leaders, _] = verdict([tied])
    first = tied.standings[0].method
    assert leaders == f"By `rise`, no method is best: the lead of `{first}` over every other method is undecided."


def test_a_control_is_never_best() -> None:
    comparison = compared({"a": 2, "b": 1, "random:seed=3": 5})
    leaders, controls = verdict([comparison])
    assert leaders.startswith("By `rise`, `a` is best among 2 methods")
    assert controls == "By `rise`, none of the 2 methods is shown to be better than every control."
    assert best_of(comparison) == {"a"}


def test_metrics_with_the_same_verdict_share_a_clause() -> None:
    comparisons = [compared({"a": 3, "b": 2, "random": 1}, metric) for metric in ("rise", "drop", "road")]
    leaders, controls = verdict(comparisons)
    assert leaders.startswith("By `rise`, `drop` and `road`, `a` is best")
    assert controls.startswith("By `rise`, `drop` and `road`, all 2 methods are")


def test_runs_without_a_comparison_have_a_verdict() -> None:
    leaders, controls = verdict([compared({"a": 1})])
    assert "fewer than two methods" in leaders
    assert controls == "The run has no controls, so it cannot show whether the methods are better than chance."
    assert verdict([compared({"random": 1, "edges": 0})])[1] == "The run compares the controls only."


def test_one_method_better_than_the_controls_is_named() -> None:
    _, controls = verdict([compared({"a": 3, "b": 0, "random": 1})])
    assert controls == "By `rise`, only `a` is shown to be better than every control."


def test_at_most_five_methods_and_the_controls_are_in_color() -> None:
    means = {f"m{i}": float(i) for i in range(8)} | {"random": 0.5, "center": 0.5, "edges": 0.5}
    styles = method_styles([compared(means)])
    colored = {method for method, style in styles.items() if style.colored}
    assert colored == {"m7", "m6", "m5", "m4", "m3", "random", "center", "edges"}
    assert len({styles[method].color for method in colored}) == 8
    assert {method for method, style in styles.items() if style.control} == {"random", "center", "edges"}
    assert styles["m0"] == MethodStyle()


def test_the_first_methods_of_each_metric_are_in_color() -> None:
    rising, falling = {f"m{i}": float(i) for i in range(8)}, {f"m{i}": float(-i) for i in range(8)}
    styles = method_styles([compared(rising), compared(falling, "drop")])
    assert {method for method, style in styles.items() if style.colored} == {"m7", "m0", "m6", "m1", "m5"}


def test_controls_are_labeled() -> None:
    assert labeled("random:seed=1") == "random:seed=1 (control)"
    assert labeled("flattened(grad-cam:layer=layer3):power=2") == "flattened(grad-cam:layer=layer3):power=2 (control)"
    assert is_control("blurred")
    assert labeled("randomized") == "randomized"
    assert not is_control("centered:x=1")
