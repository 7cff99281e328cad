"""Table of scores: one line per image and method, and the means."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from xai_core.cli.console import table
from xai_core.report.ranking import Line, best, means
from xai_core.report.results import Result, Scored


def score_table(title: str, results: Sequence[Result]) -> Table:
    """Return a table of the scores of each image and method, with the best score of each image and metric marked."""
    average = means(results)
    metrics = average[0].scores
    columns = [metric.capitalize() for metric in metrics]
    rows = table(
        *("Image", "Predicted class", "Method", *columns, "Seconds"),
        right={*columns, "Seconds"},
        title=title,
        caption=f"* best. {_directions(metrics)} Seconds: time to compute the map.",
    )
    for result in results:
        labels = (result.id, f"{result.predicted.name} {result.predicted.probability:.2f}")
        for explained in result.explained:
            scores = _scores(explained, result.explained)
            rows.add_row(*map(Text, labels), Text(explained.method), *scores, f"{explained.seconds:.2f}")
            labels = ("", "")
        rows.add_section()
    label = "mean"
    for line in average:
        rows.add_row(label, "", Text(line.method), *_scores(line, average), f"{line.seconds:.2f}")
        label = ""
    return rows


def _scores(line: Line, lines: Sequence[Line]) -> list[Text]:
    return [
        Text(f"*{score.value:.3f}", "bold green") if line.method in best(lines, metric) else Text(f"{score.value:.3f}")
        for metric, score in line.scores.items()
    ]


def _directions(metrics: Mapping[str, Scored]) -> str:
    return " ".join(
        f"{metric.capitalize()}: {'higher' if score.higher_is_better else 'lower'} is better."
        for metric, score in metrics.items()
    )
