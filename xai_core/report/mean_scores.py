"""Mean scores of methods."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from xai_core.report.results import Explanation, ImageResult, MapScore, MethodResult


@dataclass(frozen=True)
class MeanScores(MethodResult):
    """Scores and duration of a method, averaged over the images that it explained."""

    scores: Mapping[str, MapScore]
    seconds: float

    @property
    def values(self) -> Mapping[str, float]:
        """The mean of each metric."""
        return {metric: score.value for metric, score in self.scores.items()}


def mean_scores(images: Sequence[ImageResult]) -> list[MeanScores]:
    """Average the scores of each method over images, in the order in which the methods first occur."""
    by_method: dict[str, list[Explanation]] = {}
    for image in images:
        for explanation in image.explanations:
            by_method.setdefault(explanation.method, []).append(explanation)
    return [
        MeanScores(method, each[0].group, _means(each), statistics.fmean(one.seconds for one in each))
        for method, each in by_method.items()
    ]


def _means(explanations: Sequence[Explanation]) -> dict[str, MapScore]:
    """Average each metric over the explanations that it scores."""
    by_metric: dict[str, list[MapScore]] = {}
    for explanation in explanations:
        for metric, score in explanation.scores.items():
            by_metric.setdefault(metric, []).append(score)
    return {
        metric: MapScore(statistics.fmean(score.value for score in scores), scores[0].higher_is_better)
        for metric, scores in by_metric.items()
    }
