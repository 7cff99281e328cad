"""Table of scores: one line per image and method, and the means."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from xai_core.cli.console import plain, table
from xai_core.report.ranking import ScoredMethod, best_methods, mean_scores
from xai_core.report.results import ImageResult, MapScore


def score_table(title: str, results: Sequence[ImageResult]) -> Table:
    """Return a table of the scores of each image and method, with the best score of each image and metric marked."""
    average = mean_scores(results)
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
        for explanation in result.explanations:
            scores = _scores(explanation, result.explanations)
            rows.add_row(*map(plain, labels), plain(explanation.method), *scores, f"{explanation.seconds:.2f}")
            labels = ("", "")
        rows.add_section()
    label = "mean"
    for line in average:
        rows.add_row(label, "", plain(line.method), *_scores(line, average), f"{line.seconds:.2f}")
        label = ""
    return rows


def _scores(line: ScoredMethod, lines: Sequence[ScoredMethod]) -> list[Text]:
    return [
        Text(f"*{score.value:.3f}", "bold green")
        if line.method in best_methods(lines, metric)
        else Text(f"{score.value:.3f}")
        for metric, score in line.scores.items()
    ]


def _directions(metrics: Mapping[str, MapScore]) -> str:
    return " ".join(
        f"{metric.capitalize()}: {'higher' if score.higher_is_better else 'lower'} is better."
        for metric, score in metrics.items()
    )
