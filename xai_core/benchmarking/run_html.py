"""HTML of a run for notebooks: its progress, and the mean scores of the finished images."""

from html import escape
from pathlib import Path

from xai_core.benchmarking.comparison import ScoreMatrix
from xai_core.benchmarking.score_arrays import read_arrays
from xai_core.benchmarking.store import Run
from xai_core.html import table


def run_html(run: Run) -> str:
    """Return the number of finished images, and a table of mean scores for each model.

    Each mean is computed from the images that all methods have a score for.
    """
    finished = sum(shard.stop - shard.start for shard in run.finished)
    images = run.manifest.images * len(run.manifest.models)
    matrices = [of_model.scores for of_model in read_arrays(run)] if finished else []
    errors = sum(counter.total() for scores in matrices for matrix in scores for counter in matrix.errors.values())
    folder = run.path.relative_to(Path.cwd()) if run.path.is_relative_to(Path.cwd()) else run.path
    lines = [f"{finished} of {images} images in {folder}"]
    if errors:
        lines.append(f"{errors} of {len(run)} rows contain an error. See the column error of run.rows().")
    return f"<div>{'<br>'.join(map(escape, lines))}{''.join(map(_means, matrices))}</div>"


def _means(scores: list[ScoreMatrix]) -> str:
    """Return the table of a model: methods in rows and metrics in columns."""
    columns = [_column(matrix) for matrix in scores]
    rows = [(method, *(column.get(method, "-") for column in columns)) for method in scores[0].methods]
    return f"<div><b>{escape(scores[0].model)}</b></div>{table(['method', *map(_header, scores)], rows)}"


def _header(matrix: ScoreMatrix) -> str:
    return f"{matrix.metric} ({'higher' if matrix.higher_is_better else 'lower'} is better)"


def _column(matrix: ScoreMatrix) -> dict[str, str]:
    """Return the mean score of each compared method."""
    methods, values = matrix.shared()
    return {method: f"{values[:, i].mean():.4f}" for i, method in enumerate(methods) if len(values)}
