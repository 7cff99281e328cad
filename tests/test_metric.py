"""Metric results: finite, one for each requested target, with its curve, in the direction that the metric declares."""

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, settled
from xai_core.errors import NonFiniteResultError
from xai_core.plugin import Evaluation

TARGETS = [[0, 1], [2, 3], [4, 0]]


class TargetLogit(xai.Metric):
    """Scores a map by the logit of its target, with a curve from that logit to its double."""

    name = "target-logit"
    higher_is_better = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        logits = evaluation.model_score(evaluation.images)
        return xai.MetricResult(logits, torch.stack([logits, 2 * logits], 1), torch.tensor([0.0, 1.0]))


class Direction(TargetLogit):
    """Decides its direction by an option."""

    name = "direction"

    def __init__(self, higher_is_better: bool) -> None:
        self.higher_is_better = higher_is_better


@pytest.fixture
def cnn() -> nn.Module:
    return settled(SmallCNN())


@pytest.mark.parametrize("method", ["grad-cam", "eigen-cam"])  # with and without a target of its own
def test_each_target_has_its_own_value_and_curve(cnn: nn.Module, images: Tensor, method: str) -> None:
    engine = xai.Engine(cnn)
    maps = engine.explain(images, method, TARGETS)
    result = engine.evaluate(images, maps, TargetLogit())[method]["target-logit"]
    expected = cnn(images).detach().gather(1, torch.tensor(TARGETS))
    torch.testing.assert_close(result.values, expected)
    assert result.curve is not None
    torch.testing.assert_close(result.curve, torch.stack([expected, 2 * expected], 2))
    assert result.fractions is not None
    assert result.fractions.tolist() == [0, 1]


def test_results_have_the_direction_of_the_metric_object(cnn: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(cnn)
    maps = engine.explain(images, "grad-cam", TARGETS) | engine.explain(images, "eigen-cam")
    for higher in (True, False):
        for results in engine.evaluate(images, maps, Direction(higher)).values():
            assert results["direction"].higher_is_better is higher


class Unbounded(TargetLogit):
    """Scores all images by their logits, except the second one."""

    name = "unbounded"

    def __init__(self, score: float) -> None:
        self.score = score

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        scores = evaluation.model_score(evaluation.images)
        scores[1] = self.score
        return xai.MetricResult(scores)


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_results_that_are_not_finite_are_an_error(cnn: nn.Module, images: Tensor, score: float) -> None:
    engine = xai.Engine(cnn)
    maps = engine.explain(images, "grad-cam")
    with pytest.raises(NonFiniteResultError, match=r"unbounded.*images \[1\]"):
        engine.evaluate(images, maps, Unbounded(score))
