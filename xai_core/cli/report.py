"""Options of `xai report`."""

from pathlib import Path
from typing import Annotated

import typer

from xai_core.cli.options import Format
from xai_core.errors import OptionError


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
    page: Annotated[
        bool, typer.Option("--page", help="Write an HTML page with figures, LaTeX tables and BibTeX references.")
    ] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the page.  [default: RUN/report]")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Overwrite existing diagrams, and files of the page that you edited.")
    ] = False,
) -> None:
    """Summarize a benchmark: scores, ranks, tests and errors.

    The tables contain mean scores with confidence intervals, ranks, significance tests and errors. The csv format
    contains only mean scores, intervals and ranks, at full precision. The json format contains all results and the
    manifest of the run. With --page, the command writes an HTML page instead.
    """
    from xai_core.cli.actions.report import print_report
    from xai_core.cli.actions.report_page import write_report_page

    if out is not None and not page:
        raise OptionError("--out is the folder of the page; add --page")
    if page:
        write_report_page(run, out, overwrite)
    else:
        print_report(run, format, pairs, costs, figures, overwrite)
