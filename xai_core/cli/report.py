"""Options of `xai report`."""

from pathlib import Path
from typing import Annotated

import typer

from xai_core.cli.options import Format


def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a benchmark run, finished or not.")],
    format: Annotated[Format, typer.Option(help="Output format.")] = Format.table,
    pairs: Annotated[bool, typer.Option("--pairs", help="Include the comparison of every pair of methods.")] = False,
    costs: Annotated[
        bool, typer.Option("--costs", help="Include forward passes, seconds and memory per method.")
    ] = False,
    figures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for critical-difference diagrams.  [default: none]")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Overwrite existing diagrams.")] = False,
) -> None:
    """Summarize a benchmark: scores, ranks, tests and errors.

    The tables contain mean scores with confidence intervals, ranks, significance tests and errors. The csv format
    contains only mean scores, intervals and ranks, at full precision. The json format contains all results and the
    manifest of the run.
    """
    from xai_core.cli.actions.report import print_report

    print_report(run, format, pairs, costs, figures, overwrite)
