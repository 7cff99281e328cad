"""The conformance checks of metrics: each finds an implementation that violates it, and a correct one passes."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import xai_core as xai
from support.conformance import assert_described, assert_finds, assert_passes, violations
from xai_core.plugin import Evaluation, ranks
from xai_core.testing import check_metric, metrics

SIGNS = itertools.cycle((1, -1))


class GoodMetric(xai.Metric):
    """Score of the images with only the most salient half of the pixels."""

    name = "good"
    higher_is_better = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        values = saliency.values
        kept = ranks(values) < values[0].numel() // 2
        curve = torch.stack(
            [
                evaluation.model_score(images)
                for images in (
                    torch.zeros_like(evaluation.images),
                    evaluation.images * kept[:, None],
                    evaluation.images,
                )
            ],
            1,
        )
        return xai.MetricResult(curve[:, 1], curve, torch.linspace(0, 1, 3))


def metric(
    change: Callable[[Evaluation, xai.Saliency, xai.MetricResult], Any] | None = None, **attributes: Any
) -> xai.Metric:
    """Return a `GoodMetric` with other attributes. `change` receives the result of a good one."""
    if change is not None:
        good = GoodMetric.evaluate
        attributes["evaluate"] = lambda self, evaluation, saliency: change(
            evaluation, saliency, good(self, evaluation, saliency)
        )
    return type("Bad", (GoodMetric,), {"__doc__": "Bad.", **attributes})()  # type: ignore[no-any-return]


def values(change: Callable[[Evaluation, xai.Saliency, Tensor], Tensor], **attributes: Any) -> xai.Metric:
    """Return a `GoodMetric` with other values."""
    return metric(
        lambda evaluation, saliency, score: xai.MetricResult(change(evaluation, saliency, score.values)),
        **attributes,
    )


def all_at_once(evaluation: Evaluation, saliency: xai.Saliency, scores: Tensor) -> Tensor:
    with torch.no_grad():
        evaluation.model.eval()(torch.cat([evaluation.images] * 9))
    return scores


def block_counts(evaluation: Evaluation, saliency: xai.Saliency, scores: Tensor) -> Tensor:
    return scores + evaluation.model_score.block


def trains(evaluation: Evaluation, saliency: xai.Saliency, scores: Tensor) -> Tensor:
    next(evaluation.model.parameters()).requires_grad_(False)
    return scores


def writes_maps(evaluation: Evaluation, saliency: xai.Saliency, scores: Tensor) -> Tensor:
    saliency.values.zero_()
    return scores


def writes_images(evaluation: Evaluation, saliency: xai.Saliency, scores: Tensor) -> Tensor:
    evaluation.images.add_(1)
    return scores


def writes_masks(evaluation: Evaluation, saliency: xai.Saliency, scores: Tensor) -> Tensor:
    evaluation.masks.data.logical_not_()  # which no version counter shows
    return scores


def divides(evaluation: Evaluation, saliency: xai.Saliency, scores: Tensor) -> Tensor:
    return scores / saliency.values.amax((1, 2))


def only_float32(evaluation: Evaluation, saliency: xai.Saliency, scores: Tensor) -> Tensor:
    return scores + (evaluation.images.dtype == torch.float64)


def from_the_map(evaluation: Evaluation, saliency: xai.Saliency, score: xai.MetricResult) -> xai.MetricResult:
    assert score.curve is not None
    curve = score.curve.clone()
    curve[:, 0] = saliency.raw[:, 0, 0].to(curve)
    return xai.MetricResult(score.values, curve, score.fractions)


def reads_masks(evaluation: Evaluation, saliency: xai.Saliency, scores: Tensor) -> Tensor:
    return scores + evaluation.masks.any()


KEPT: list[Tensor] = []


def keeps_scores(evaluation: Evaluation, saliency: xai.Saliency, scores: Tensor) -> Tensor:
    KEPT.append(scores.clone())
    return scores


BAD_METRICS: dict[str, list[tuple[xai.Metric, str]]] = {
    "has_valid_name": [(metric(name="Mine"), "lower case"), (metric(__doc__=None), "has no docstring")],
    "spec_round_trips": [
        (type("Bad", (GoodMetric,), {"__init__": lambda self, steps=1: None})(), "'steps' must be stored")
    ],
    "declares_direction": [
        (metric(higher_is_better="up"), "`higher_is_better` must be True or False"),
    ],
    "returns_one_score_per_image": [
        (values(lambda evaluation, saliency, scores: scores.mean()), "must return one number per image"),
        (values(lambda evaluation, saliency, scores: scores / 0), "NaN or infinite"),
        (
            metric(lambda evaluation, saliency, score: xai.MetricResult(score.values, score.curve, torch.ones(3))),
            "must be strictly increasing",
        ),
        (
            metric(lambda evaluation, saliency, score: xai.MetricResult(score.values, score.curve, torch.ones(2))),
            "must return a curve",
        ),
    ],
    "batch_matches_single_images": [
        (values(lambda evaluation, saliency, scores: scores / scores.abs().amax()), "alone and in a batch of three")
    ],
    "is_independent_of_block_size": [
        (values(block_counts), "with block sizes of 1 and 1000"),
        (values(all_at_once), "contained 18 images"),
    ],
    "is_invariant_to_map_scale": [
        (values(lambda evaluation, saliency, scores: scores + saliency.raw.amax((1, 2))), "the map times 1024")
    ],
    "is_deterministic": [
        (values(lambda evaluation, saliency, scores: scores * next(SIGNS)), "different scores"),
        (values(lambda evaluation, saliency, scores: scores + torch.rand(1)), "random state of PyTorch"),
    ],
    "leaves_model_unchanged": [(values(trains), "requires_grad")],
    "leaves_inputs_unchanged": [
        (values(writes_maps), "writes to the maps"),
        (values(writes_images), "writes to the images"),
        (values(writes_masks, needs_ground_truth=True), "writes to the masks"),
    ],
    "avoids_host_transfers": [
        (values(lambda evaluation, saliency, scores: scores * float(scores.amax())), "from the device to the host")
    ],
    "scores_constant_maps_and_models": [(values(divides), "NaN or infinite")],
    "supports_all_precisions": [(values(only_float32), "in float64 and in float32 differ")],
    "better_map_scores_better": [
        (values(lambda evaluation, saliency, scores: -scores), "the exact contribution of each pixel"),
        (
            values(
                lambda evaluation, saliency, scores: -(saliency.values * evaluation.masks).sum((1, 2)),
                needs_ground_truth=True,
            ),
            "the ground-truth mask must score",
        ),
    ],
    "curve_ends_do_not_depend_on_map": [(metric(from_the_map), "at fraction 0")],
    "declares_use_of_ground_truth": [
        (values(reads_masks), "set `needs_ground_truth = True`"),
        (metric(needs_ground_truth=True), "does not read"),
    ],
    "retains_no_tensors": [(values(keeps_scores), "bytes of tensors remain")],
}


def test_an_implementation_that_keeps_the_contract_passes() -> None:
    assert_passes(check_metric(GoodMetric))


def test_checks_describe_themselves() -> None:
    assert_described(check_metric(GoodMetric))


def test_every_check_has_a_violation() -> None:
    assert list(BAD_METRICS) == [check.__name__ for check in metrics.CHECKS]
    assert all(BAD_METRICS.values())


@pytest.mark.parametrize(("name", "subject", "reason"), violations(BAD_METRICS))
def test_a_violation_is_found(name: str, subject: Any, reason: str) -> None:
    assert_finds(check_metric(subject), name, reason)
