"""`xai report`: what a benchmark's run came to, as tables and pictures."""

import dataclasses
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from xai_core import files
from xai_core.benchmarking import Run
from xai_core.benchmarking.statistics import Comparison
from xai_core.benchmarking.summary import Summary, in_words, summarize
from xai_core.cli.console import complain, console, counted, sheet_table
from xai_core.report import tables as sheets
from xai_core.report.critical_difference import critical_difference_picture
from xai_core.report.summary_tables import standings_sheet, summary_sheets


class Format(StrEnum):
    """How tables are written."""

    table = "table"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"
    json = "json"


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a benchmark, finished or not.")],
    format: Annotated[Format, typer.Option(help="How tables are written.")] = Format.table,
    pairs: Annotated[bool, typer.Option("--pairs", help="Every pair of methods too.")] = False,
    costs: Annotated[bool, typer.Option("--costs", help="What maps cost too.")] = False,
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for critical-difference pictures.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over pictures of the same name.")] = False,
) -> None:
    """Show a benchmark's means and intervals, ranks, which differences the data supports, and what failed.

    CSV holds the means alone, in full; JSON holds everything, and the manifest.
    """
    summary = summarize(Run.read(run))
    tables = summary_sheets(summary, pairs, costs)
    drawn = {} if pictures is None else _named(summary, pictures)
    if not overwrite:
        files.require_unused(drawn, "--pictures")
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
    if pictures is not None:
        files.make_folder(pictures)
        for path, comparison in drawn.items():
            files.write(path, critical_difference_picture(comparison))
        said = f"{counted(len(drawn), 'picture')} in {pictures}"
        complain(said if drawn else "no picture: there are fewer than three methods, or images", style="none")


def _named(summary: Summary, folder: Path) -> dict[Path, Comparison]:
    """What is drawn, by file."""
    drawn = [one for one in summary.comparisons if one.critical_difference is not None]
    names = files.distinct(f"{one.model}.{one.metric}" for one in drawn)
    return {folder / f"{name}.png": one for name, one in zip(names, drawn, strict=True)}


def _json(summary: Summary) -> str:
    said = {
        "run": summary.run.manifest.hash,
        "finished": summary.finished,
        "images": summary.images,
        "comparisons": [_plain(one) for one in summary.comparisons],
        "agreements": [dataclasses.asdict(one) for one in summary.agreements],
        "costs": [dataclasses.asdict(one) for one in summary.costs],
        "errors": dict(summary.errors),
        "left_out": [dict(zip(("model", "name", "reason"), one, strict=True)) for one in summary.left_out],
        "notes": [*summary.notes],
        "manifest": json.loads(summary.run.manifest.json()),
    }
    return json.dumps(said, indent=1, ensure_ascii=False)


def _plain(comparison: Comparison) -> dict[str, Any]:
    pairs = [dataclasses.asdict(pair) | {"supported": pair.supported} for pair in comparison.pairs]
    return dataclasses.asdict(comparison) | {"pairs": pairs, "sentences": in_words(comparison)}
