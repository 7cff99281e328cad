"""Tables and diagrams of a benchmark run: the work of `xai report`."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import typer

from xai_core import files
from xai_core.benchmarking import Run
from xai_core.benchmarking.statistics import Comparison
from xai_core.benchmarking.summary import Summary, in_words, summarize
from xai_core.cli.console import complain, console, counted, sheet_table
from xai_core.cli.options import Format
from xai_core.report import tables as sheets
from xai_core.report.critical_difference import critical_difference_picture
from xai_core.report.summary_tables import standings_sheet, summary_sheets


def print_report(run: Path, format: Format, pairs: bool, costs: bool, figures: Path | None, overwrite: bool) -> None:
    """Print the summary of a run, and write critical-difference diagrams if `figures` is a folder."""
    summary = summarize(Run.read(run))
    tables = summary_sheets(summary, pairs, costs)
    diagrams = {} if figures is None else _diagrams(summary, figures)
    if not overwrite:
        files.require_unused(diagrams, "--figures")
    match format:
        case Format.table:
            for sheet in tables:
                console().print(sheet_table(sheet))
        case Format.markdown:
            typer.echo(sheets.markdown(tables), nl=False)
        case Format.latex:
            typer.echo(sheets.latex(tables), nl=False)
        case Format.csv:
            typer.echo(sheets.comma_separated(standings_sheet(summary)), nl=False)
        case Format.json:
            typer.echo(_json(summary))
    if figures is not None:
        files.make_folder(figures)
        for path, comparison in diagrams.items():
            files.write(path, critical_difference_picture(comparison))
        written = f"Wrote {counted(len(diagrams), 'diagram')} to {figures}."
        complain(written if diagrams else "No diagram: it needs at least three methods and two images.", style="none")


def _diagrams(summary: Summary, folder: Path) -> dict[Path, Comparison]:
    """Return the comparisons that have a critical difference, by the file of their diagram."""
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
        "left_out": [dict(zip(("model", "name", "reason"), each, strict=True)) for each in summary.left_out],
        "notes": [*summary.notes],
        "manifest": json.loads(summary.run.manifest.json()),
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def _plain(comparison: Comparison) -> dict[str, Any]:
    pairs = [dataclasses.asdict(pair) | {"supported": pair.supported} for pair in comparison.pairs]
    return dataclasses.asdict(comparison) | {"pairs": pairs, "sentences": in_words(comparison)}
