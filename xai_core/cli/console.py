"""What is said to the user, and how: tables on standard output, progress and complaints on standard error."""

from collections.abc import Collection

from rich import box
from rich.console import Console, Group
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from xai_core.report.tables import Sheet

_SLOWEST = 24 * 3600
"""Seconds between two steps of work that still give a rate."""


def console() -> Console:
    """Standard output."""
    return Console(highlight=False)


def say(text: str) -> None:
    """Print a line, whole: neither wrapped nor read as markup."""
    console().print(Text(text), soft_wrap=True)


def complain(text: str, style: str = "red") -> None:
    """Print one line on standard error."""
    Console(stderr=True, highlight=False).print(Text(" ".join(text.split()), style), soft_wrap=True)


def counted(number: int, what: str) -> str:
    """A number of things: `1 part`, `2 parts`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def warn(text: str) -> None:
    """Print one line on standard error, of something that does not stop the work."""
    complain(text, "yellow")


def table(*columns: str, right: Collection[str] = (), title: str = "", caption: str = "") -> Table:
    """Make a table that reads at 80 columns and as plain text; nothing in it is cut off."""
    made = Table(
        title=Text(title, "bold") if title else None,
        caption=Text(caption) if caption else None,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return made


def sheet_table(sheet: Sheet) -> Group:
    """A table of the report, and what is said below it."""
    made = table(*sheet.columns, right=sheet.numbers)
    for row in sheet.rows:
        made.add_row(*map(Text, row))
    return Group(Text(sheet.title, "bold"), *[made] * bool(sheet.rows), *map(Text, sheet.below), "")


def progress(rate: bool = False) -> Progress:
    """Make a progress bar on standard error, with rate and time left or without; none where that is no terminal."""
    terminal = Console(stderr=True)
    ends: tuple[ProgressColumn, ...] = (Rate(), TimeRemainingColumn()) if rate else (TimeElapsedColumn(),)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), *ends)
    return Progress(
        *columns,
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
        speed_estimate_period=_SLOWEST,
    )


class Rate(ProgressColumn):
    """How many a second, or a minute where that is less than one."""

    def render(self, task: Task) -> Text:
        if not task.speed:
            return Text("")
        return Text(f"{task.speed:.1f}/s" if task.speed >= 1 else f"{task.speed * 60:.1f}/min")
