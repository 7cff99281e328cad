"""Mean scores of methods, and the best methods by a metric."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from xai_core.report.results import ImageResult, MapScore


class ScoredMethod(Protocol):
    """A method with its scores: of one image, or averaged over images."""

    @property
    def method(self) -> str:
        """Spec of the method."""
        ...

    @property
    def scores(self) -> Mapping[str, MapScore]:
        """Scores by metric."""
        ...


@dataclass(frozen=True)
class MeanScores:
    """Scores and duration of a method, averaged over the images that it explained."""

    method: str
    scores: Mapping[str, MapScore]
    seconds: float


def mean_scores(images: Sequence[ImageResult]) -> list[MeanScores]:
    """Average the scores of each method over images, in the order in which the methods first occur."""
    by_method: dict[str, list[tuple[Mapping[str, MapScore], float]]] = {}
    for image in images:
        for explanation in image.explanations:
            by_method.setdefault(explanation.method, []).append((explanation.scores, explanation.seconds))
    return [
        MeanScores(
            method,
            {
                metric: MapScore(
                    statistics.fmean(scores[metric].value for scores, _ in of_method), own.higher_is_better
                )
                for metric, own in of_method[0][0].items()
            },
            statistics.fmean(seconds for _, seconds in of_method),
        )
        for method, of_method in by_method.items()
    ]


def best_methods(scored: Sequence[ScoredMethod], metric: str) -> set[str]:
    """Return the methods with the best score, rounded to three decimals, or none if all scores are equal."""
    values = {each.method: round(each.scores[metric].value, 3) for each in scored}
    if len(set(values.values())) < 2:
        return set()
    best = (max if scored[0].scores[metric].higher_is_better else min)(values.values())
    return {method for method, value in values.items() if value == best}
