"""Rows: one number each, of one image, one method and one metric; and what is read off them."""

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from xai_core.files import write


@dataclass(frozen=True)
class Row:
    """A score.

    Attributes
    ----------
    model, data
        The specs of the model and of the data set.
    image
        The id of the image within its data set.
    method, metric
        Their specs.
    score
        The metric's value.
    target_id, target_name, probability
        The class that was explained, and the model's probability of it.
    seconds
        How long the explanation took; scoring it does not count.
    """

    model: str
    data: str
    image: str
    method: str
    metric: str
    score: float
    target_id: int
    target_name: str
    probability: float
    seconds: float


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as comma-separated values with a header, whole or not at all."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    write(path, text.getvalue())
