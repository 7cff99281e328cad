"""Summary that `xai demo` prints at its end."""

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from xai_core.cli.console import counted
from xai_core.report.mean_scores import MeanScores, mean_scores
from xai_core.report.method_groups import GROUPS
from xai_core.report.results import ModelResults

METRIC = "insertion"


def summary_lines(results: Sequence[ModelResults], folder: Path, seconds: float) -> Iterator[str]:
    """Iterate over the lines: one or two for each model, then the files and the duration."""
    for of_model in results:
        means = mean_scores(of_model.images)
        counts = (counted(len(of_model.images), "image"), counted(len(means), "method"))
        yield f"{of_model.title}: {', '.join(counts)}, {len(of_model.skipped)} skipped"
        if groups := ", ".join(_of_groups(means)):
            yield f"  mean {METRIC}: {groups}"
    page = folder / "index.html"
    yield f"Report: {page} ({page.stat().st_size / 1e6:.1f} MB)"
    yield f"Scores: {folder / 'results.csv'}"
    yield f"Images: {folder if len(results) == 1 else folder / 'MODEL'}/IMAGE.METHOD.png"
    yield f"Explained {counted(sum(len(of_model.images) for of_model in results), 'image')} in {seconds:.0f} s."


def _of_groups(means: Sequence[MeanScores]) -> Iterator[str]:
    for group in GROUPS:
        values = [mean.scores[METRIC].value for mean in means if mean.group == group and mean.scores]
        if values:
            yield f"{group} {statistics.fmean(values):.2f}"
