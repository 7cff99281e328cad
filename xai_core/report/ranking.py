"""What is read off results: which method is best at a metric, and how methods do on average."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from xai_core.report.results import Result, Scored


class Line(Protocol):
    """A method with its scores: of one image, or a mean."""

    @property
    def method(self) -> str:
        """The method's spec."""
        ...

    @property
    def scores(self) -> Mapping[str, Scored]:
        """Its scores by metric."""
        ...


@dataclass(frozen=True)
class Mean:
    """A method's mean scores over the images that it explained."""

    method: str
    scores: Mapping[str, Scored]
    seconds: float


def means(results: Sequence[Result]) -> list[Mean]:
    """Give a mean for each method, in the order in which they first appear."""
    by_method: dict[str, list[tuple[Mapping[str, Scored], float]]] = {}
    for result in results:
        for one in result.explained:
            by_method.setdefault(one.method, []).append((one.scores, one.seconds))
    return [
        Mean(
            method,
            {
                metric: Scored(statistics.fmean(scores[metric].value for scores, _ in found), first.higher_is_better)
                for metric, first in found[0][0].items()
            },
            statistics.fmean(seconds for _, seconds in found),
        )
        for method, found in by_method.items()
    ]


def best(lines: Sequence[Line], metric: str) -> set[str]:
    """Which methods do best at a metric, to the three digits that are shown; none where all do alike."""
    values = {line.method: round(line.scores[metric].value, 3) for line in lines}
    if len(set(values.values())) < 2:
        return set()
    top = (max if lines[0].scores[metric].higher_is_better else min)(values.values())
    return {method for method, value in values.items() if value == top}
