"""Implements `xai benchmark`: a benchmark with progress bars and tables of its results."""

from pathlib import Path
from typing import Any

import typer
from rich.progress import Progress

from xai_core.benchmarking.run import benchmark
from xai_core.benchmarking.settings import read_settings
from xai_core.benchmarking.shards import ShardFiles
from xai_core.benchmarking.store import Run
from xai_core.benchmarking.summary import summarize
from xai_core.cli.console import complain, console, counted, print_line, progress_bar, rich_table, warn
from xai_core.errors import OptionError
from xai_core.report.summary_tables import summary_tables


def run_benchmark(file: Path | None, options: dict[str, Any]) -> None:
    """Run or resume a benchmark, and print its tables. The options override the settings of the file."""
    settings = {**(read_settings(file) if file else {}), **options}
    for name, option in (("models", "--model"), ("data", "--data"), ("out", "--out")):
        if name not in settings:
            raise OptionError(f"missing {option}; pass the option, or set {name!r} in a TOML file")
    with progress_bar(rate=True) as bars:
        try:
            run = benchmark(**settings, progress=ProgressDisplay(bars))
        except KeyboardInterrupt:
            warn(f"Interrupted. Repeat the same command to resume the run in {settings['out']}.")
            raise
    summary = summarize(run)
    for table in summary_tables(summary):
        console().print(rich_table(table))
    print_line(
        f"Saved {counted(len(run.finished), 'shard')} in {run.path}. To print these tables again: xai report {run.path}"
    )
    if summary.errors:
        complain(f"{sum(summary.errors.values())} of {len(run)} rows contain an error.")
        raise typer.Exit(1)


class ProgressDisplay:
    """Shows a progress bar of the images for each model, and prints the notes of the shards."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[int, Any] = {}
        self._printed: set[str] = set()

    def __call__(self, run: Run, files: ShardFiles | None) -> None:
        if files is None:
            self._start(run)
            return
        self._bars.advance(self._tasks[files.shard.model_index], files.shard.stop - files.shard.start)
        for note in files.notes:
            if note not in self._printed:
                self._printed.add(note)
                warn(note)

    def _start(self, run: Run) -> None:
        images, missing = run.manifest.images, run.missing
        for index, model in enumerate(run.manifest.models):
            remaining = sum(shard.stop - shard.start for shard in missing if shard.model_index == index)
            self._tasks[index] = self._bars.add_task(model.spec, total=images, completed=images - remaining, start=True)
        if finished := len(run.shards) - len(missing):
            print_line(f"Resuming: {finished} of {len(run.shards)} shards are finished in {run.path}.")
