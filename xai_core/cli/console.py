"""Output to the terminal: tables on standard output, progress and messages on standard error."""

import time
from collections.abc import Collection
from typing import Any

from rich import box
from rich.console import Console, Group
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from xai_core.printable import one_line, printable
from xai_core.report.tables import TextTable

INTERVAL = 5.0
"""Minimum number of seconds between two lines of progress if there is no terminal."""
_RATE_WINDOW = 24 * 3600
"""Seconds over which the rate of a progress bar is averaged. One step of a benchmark can take hours."""


def console() -> Console:
    """Return a console that prints to standard output."""
    return Console(highlight=False)


def plain(text: str, style: str = "") -> Text:
    """Return text for the terminal as it is, without markup. Characters that control the terminal are escaped."""
    return Text(printable(text), style)


def print_line(text: str) -> None:
    """Print text without line wrapping and without interpreting markup."""
    console().print(plain(text), soft_wrap=True)


def complain(text: str, style: str = "red") -> None:
    """Print one line on standard error."""
    Console(stderr=True, highlight=False).print(Text(one_line(text), style), soft_wrap=True)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: `1 shard`, `2 shards`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def warn(text: str) -> None:
    """Print one line on standard error about a problem that does not stop the work."""
    complain(text, "yellow")


def table(*columns: str, right: Collection[str] = (), title: str = "", caption: str = "") -> Table:
    """Return an empty table that is readable at 80 columns and as plain text, and that truncates nothing.

    Parameters
    ----------
    right
        Names of the right-aligned columns.
    """
    empty = Table(
        title=plain(title, "bold") if title else None,
        caption=plain(caption) if caption else None,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for column in columns:
        empty.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return empty


def rich_table(text: TextTable) -> Group:
    """Return a table of the report with its title and the sentences below it."""
    rows = table(*text.columns, right=text.numbers)
    for row in text.rows:
        rows.add_row(*map(plain, row))
    return Group(plain(text.title, "bold"), *[rows] * bool(text.rows), *map(plain, text.below), "")


def progress_bar(rate: bool = False) -> Progress:
    """Return a progress bar on standard error. Without a terminal, it prints a line every few seconds.

    Parameters
    ----------
    rate
        Whether to show the rate and the remaining time instead of the elapsed time.
    """
    terminal = Console(stderr=True)
    timing: tuple[ProgressColumn, ...] = (Rate(), TimeRemainingColumn()) if rate else (TimeElapsedColumn(),)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), *timing)
    return (Progress if terminal.is_terminal else ProgressLines)(
        *columns,
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
        speed_estimate_period=_RATE_WINDOW,
    )


class ProgressLines(Progress):
    """Progress without a terminal: one line at most every `INTERVAL` seconds."""

    _printed = 0.0

    def start(self) -> None:
        """Start to measure time, so that short work prints nothing."""
        self._printed = time.monotonic()

    def update(self, task_id: TaskID, *args: Any, **fields: Any) -> None:
        """Update a task, and print it if the last line is old enough."""
        super().update(task_id, *args, **fields)
        self._print(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Advance a task, and print it if the last line is old enough."""
        super().advance(task_id, advance)
        self._print(task_id)

    def _print(self, task_id: TaskID) -> None:
        if time.monotonic() - self._printed >= INTERVAL:
            self._printed = time.monotonic()
            task = self._tasks[task_id]
            count = f"{task.completed:.0f}/{task.total:.0f}" if task.total is not None else f"{task.completed:.0f}"
            complain(f"[{count}] {task.description}", "")


class Rate(ProgressColumn):
    """Steps per second, or per minute if there is less than one step per second."""

    def render(self, task: Task) -> Text:
        if not task.speed:
            return Text("")
        return Text(f"{task.speed:.1f}/s" if task.speed >= 1 else f"{task.speed * 60:.1f}/min")
