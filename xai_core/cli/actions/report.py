"""Implements `xai report`: tables and diagrams of a benchmark run."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import typer

from xai_core import files
from xai_core.benchmarking.comparison import MethodComparison
from xai_core.benchmarking.conclusions import conclusions
from xai_core.benchmarking.store import Run
from xai_core.benchmarking.summary import Summary, summarize
from xai_core.cli.console import complain, console, counted, rich_table
from xai_core.cli.options import Format
from xai_core.report.figures.critical_difference import critical_difference_diagram
from xai_core.report.summary_tables import standings_table, summary_tables
from xai_core.report.tables import comma_separated, latex, markdown
from xai_core.visualization.encoding import encode_figure


def print_report(run: Path, format: Format, pairs: bool, costs: bool, figures: Path | None, overwrite: bool) -> None:
    """Print the summary of a run, and write critical-difference diagrams if `figures` is a folder."""
    summary = summarize(Run.read(run))
    tables = summary_tables(summary, pairs, costs)
    diagrams = {} if figures is None else _diagrams(summary, figures)
    if not overwrite:
        files.require_unused(diagrams, "--figures")
    match format:
        case Format.table:
            for table in tables:
                console().print(rich_table(table))
        case Format.markdown:
            typer.echo(markdown(tables), nl=False)
        case Format.latex:
            typer.echo(latex(tables), nl=False)
        case Format.csv:
            typer.echo(comma_separated(standings_table(summary)), nl=False)
        case Format.json:
            typer.echo(_json(summary))
    if figures is not None:
        files.make_folder(figures)
        for path, comparison in diagrams.items():
            files.write_file(path, encode_figure(critical_difference_diagram(comparison)))
        written = f"Wrote {counted(len(diagrams), 'diagram')} to {figures}."
        complain(
            written if diagrams else "No diagram was written: a diagram needs at least three methods and two images.",
            style="none",
        )


def _diagrams(summary: Summary, folder: Path) -> dict[Path, MethodComparison]:
    """Return the path of each diagram, with its comparison. Comparisons without a critical difference are omitted."""
    comparisons = [each for each in summary.comparisons if each.critical_difference is not None]
    names = files.distinct(f"{each.model}.{each.metric}" for each in comparisons)
    return {folder / f"{name}.png": each for name, each in zip(names, comparisons, strict=True)}


def _json(summary: Summary) -> str:
    content = {
        "run": summary.run.manifest.hash,
        "finished": summary.finished,
        "images": summary.images,
        "comparisons": [_plain(comparison) for comparison in summary.comparisons],
        "agreements": [dataclasses.asdict(agreement) for agreement in summary.agreements],
        "costs": [dataclasses.asdict(cost) for cost in summary.costs],
        "errors": dict(summary.errors),
        "skipped": [dict(zip(("model", "name", "reason"), each, strict=True)) for each in summary.skipped],
        "notes": [*summary.notes],
        "manifest": json.loads(summary.run.manifest.json()),
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def _plain(comparison: MethodComparison) -> dict[str, Any]:
    pairs = [dataclasses.asdict(pair) | {"supported": pair.supported} for pair in comparison.pairs]
    return dataclasses.asdict(comparison) | {"pairs": pairs, "conclusions": conclusions(comparison)}
