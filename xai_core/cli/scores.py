"""The table of scores: a line per image and method, and the means."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from xai_core.cli.console import table
from xai_core.report.ranking import Line, best, means
from xai_core.report.results import Result, Scored


def score_table(title: str, results: Sequence[Result]) -> Table:
    """Lay out the scores of each image and method, the best of each image and metric marked."""
    average = means(results)
    metrics = average[0].scores
    names = [metric.capitalize() for metric in metrics]
    made = table(
        *("Image", "Predicted class", "Method", *names, "Seconds"),
        right={*names, "Seconds"},
        title=title,
        caption=f"* best. {_directions(metrics)} Seconds: to explain.",
    )
    for result in results:
        predicted = f"{result.predicted.name} {result.predicted.probability:.2f}"
        for place, one in enumerate(result.explained):
            shown = ("", "") if place else (result.id, predicted)
            made.add_row(*map(Text, shown), Text(one.method), *_scores(one, result.explained), f"{one.seconds:.2f}")
        made.add_section()
    for place, line in enumerate(average):
        made.add_row("" if place else "mean", "", Text(line.method), *_scores(line, average), f"{line.seconds:.2f}")
    return made


def _scores(line: Line, among: Sequence[Line]) -> list[Text]:
    return [
        Text(f"*{score.value:.3f}", "bold green") if line.method in best(among, metric) else Text(f"{score.value:.3f}")
        for metric, score in line.scores.items()
    ]


def _directions(metrics: Mapping[str, Scored]) -> str:
    return " ".join(
        f"{metric.capitalize()}: {'higher' if score.higher_is_better else 'lower'} is better."
        for metric, score in metrics.items()
    )
