"""What a report shows: for each image the class, and for each method its overlay, its scores and its curves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from PIL.Image import Image

from xai_core.report.rows import Row


@dataclass(frozen=True)
class Curve:
    """A model's score, from no pixel replaced to all; `fractions` and `scores` are of one length."""

    fractions: Sequence[float]
    scores: Sequence[float]


@dataclass(frozen=True)
class Scored:
    """What a metric said of one map."""

    value: float
    higher_is_better: bool
    curve: Curve | None = None


@dataclass(frozen=True)
class Explained:
    """One image explained by one method: `flat` where it found no evidence; with its `parts`, such as heads, if any."""

    method: str
    overlay: Image
    seconds: float
    flat: bool
    scores: Mapping[str, Scored]
    parts: Sequence[Image] = ()


@dataclass(frozen=True)
class Prediction:
    """A class, and the model's probability of it."""

    id: int
    name: str
    probability: float


@dataclass(frozen=True, eq=False)
class Result:
    """One image explained by every method: `id` is its name within its data set, `file` the one in file names.

    `truth` shows what tells the class, where that is known.
    """

    id: str
    file: str
    photo: Image
    predicted: Prediction
    explained: Sequence[Explained]
    truth: Image | None = None


@dataclass(frozen=True)
class Exhibit:
    """A model on the images of a data set, by their specs: a result or more, and why methods were left out."""

    model: str
    data: str
    results: Sequence[Result]
    left_out: Mapping[str, str]

    @property
    def title(self) -> str:
        """What it is called."""
        return f"{self.model} on {self.data}"


def rows(exhibit: Exhibit) -> Iterator[Row]:
    """Give a row for each score."""
    for result in exhibit.results:
        target = result.predicted
        for one in result.explained:
            for metric, score in one.scores.items():
                yield Row(
                    model=exhibit.model,
                    data=exhibit.data,
                    image=result.id,
                    method=one.method,
                    metric=metric,
                    score=score.value,
                    target_id=target.id,
                    target_name=target.name,
                    probability=target.probability,
                    seconds=one.seconds,
                )
