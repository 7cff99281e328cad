"""Scores as comma-separated values, one row for each image, method and metric."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path

from xai_core.files import write_file
from xai_core.report.csv_text import csv_text
from xai_core.report.results import ModelResults


@dataclass(frozen=True)
class CSVRow:
    """Score of one map by one metric.

    Attributes
    ----------
    model, data, method, metric
        Specs of the model, the dataset, the method and the metric.
    image
        Id of the image in the dataset.
    score
        Value of the metric.
    target_id, target_name, probability
        Explained class, and its probability according to the model.
    seconds
        Duration of the explanation, without the time to score it.
    """

    model: str
    data: str
    image: str
    method: str
    metric: str
    score: float
    target_id: int | None
    target_name: str
    probability: float | None
    seconds: float


def csv_rows(results: ModelResults) -> Iterator[CSVRow]:
    """Iterate over the scores of a model's results."""
    for image in results.images:
        target = image.predicted
        if target is None:  # without a class, there are no scores
            continue
        for explanation in image.explanations:
            for metric, score in explanation.scores.items():
                yield CSVRow(
                    model=results.model,
                    data=results.data,
                    image=image.id,
                    method=explanation.method,
                    metric=metric,
                    score=score.value,
                    target_id=target.id,
                    target_name=target.name,
                    probability=target.probability,
                    seconds=explanation.seconds,
                )


def write_csv(path: Path, rows: Iterable[CSVRow]) -> None:
    """Write rows with a header to a file, completely or not at all."""
    names = [field.name for field in fields(CSVRow)]
    write_file(path, csv_text(names, map(attrgetter(*names), rows)))
