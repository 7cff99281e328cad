"""`xai benchmark`: score explainers on models and data, into a folder that the same command goes on from."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from xai_core.benchmarking import Run, benchmark, read_settings
from xai_core.benchmarking.protocols import PROTOCOLS
from xai_core.benchmarking.settings import TARGETS
from xai_core.benchmarking.store import Part
from xai_core.benchmarking.summary import summarize
from xai_core.cli.console import complain, console, counted, progress, say, sheet_table, warn
from xai_core.cli.options import Device
from xai_core.errors import OptionError
from xai_core.report.summary_tables import summary_sheets
from xai_core.spec import split


class EngineName(StrEnum):
    """Where the work is done."""

    local = "local"
    ray = "ray"


class Precision(StrEnum):
    """Of the model's forwards."""

    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


Several = list[str] | None


def benchmark_command(
    settings: Annotated[
        Path | None, typer.Argument(metavar="[FILE.toml]", help="Settings, by the names of these options.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Folder of the run; the same command goes on there.")
    ] = None,
    model: Annotated[Several, typer.Option(metavar="SPEC", help="See `xai list models`; may be repeated.")] = None,
    data: Annotated[str | None, typer.Option(metavar="SPEC", help="See `xai list datasets`.")] = None,
    method: Annotated[Several, typer.Option(metavar="M[,M...]", help="Explainers.  [default: all]")] = None,
    metric: Annotated[Several, typer.Option(metavar="M[,M...]", help="Metrics, or all.")] = None,
    protocol: Annotated[str | None, typer.Option(metavar="NAME", help=f"{', '.join(PROTOCOLS)}.")] = None,
    without: Annotated[Several, typer.Option(metavar="M[,M...]", help="What `all` leaves out.")] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", help="How many images, from the first.")] = None,
    target: Annotated[str | None, typer.Option(metavar="WHICH", help=f"{' or '.join(TARGETS)}.")] = None,
    controls: Annotated[
        bool | None,
        typer.Option("--controls/--no-controls", help="Also random, center and edges.  [default: controls]"),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of what is random.")] = None,
    precision: Annotated[Precision | None, typer.Option(help="Of the model's forwards.  [default: fp32]")] = None,
    batch: Annotated[int | None, typer.Option(metavar="N", help="Images in a pass.  [default: 8]")] = None,
    shard: Annotated[int | None, typer.Option(metavar="N", help="Images written together.  [default: 16]")] = None,
    maps: Annotated[bool | None, typer.Option("--maps/--no-maps", help="Write the maps too.")] = None,
    time_limit: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="For each image, of a method or a metric.  [default: 1800]")
    ] = None,
    engine: Annotated[EngineName | None, typer.Option(help="Where the work is done.  [default: local]")] = None,
    address: Annotated[str | None, typer.Option(metavar="HOST", help="Of a Ray cluster.  [default: a new one]")] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Threads that read, or Ray's actors.")] = None,
    retry_errors: Annotated[bool, typer.Option("--retry-errors", help="Do parts with errors again.")] = False,
    device: Device = None,
) -> None:
    """Score explainers on models and data, and say which differences hold.

    Rows go to RUN as they are done. The same command goes on after an interruption; another one is refused there.
    """
    options: dict[str, Any] = {
        "models": model and tuple(model),
        "data": data,
        "methods": _specs(method),
        "metrics": _specs(metric),
        "protocol": protocol,
        "without": _specs(without),
        "limit": limit,
        "target": target,
        "controls": controls,
        "seed": seed,
        "precision": precision and precision.value,
        "batch": batch,
        "shard": shard,
        "maps": maps,
        "time_limit": time_limit,
        "device": device,
        "out": out,
        "engine": engine and engine.value,
        "address": address,
        "workers": workers,
    }
    given = read_settings(settings) if settings else {}
    given |= {name: value for name, value in options.items() if value is not None}
    for name, option in (("models", "--model"), ("data", "--data"), ("out", "--out")):
        if name not in given:
            purpose = "to write to" if name == "out" else "to benchmark"
            raise OptionError(f"no {name} {purpose}; give {option}, or a file of settings that says it")
    with progress(rate=True) as bars:
        watch = ProgressDisplay(bars)
        try:
            run = benchmark(**given, retry_errors=retry_errors, progress=watch)
        except KeyboardInterrupt:
            warn(f"Interrupted; the same command goes on from what is in {given['out']}.")
            raise
    summary = summarize(run)
    for sheet in summary_sheets(summary):
        console().print(sheet_table(sheet))
    say(f"{counted(len(run.finished), 'part')} in {run.path}; `xai report {run.path}` shows this again, and more.")
    if summary.errors:
        complain(f"{sum(summary.errors.values())} of {len(run.rows())} rows have an error")
        raise typer.Exit(1)


class ProgressDisplay:
    """Shows a bar for each model, in images, and says what went otherwise than planned."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[int, Any] = {}
        self._said: set[str] = set()

    def __call__(self, run: Run, part: Part | None) -> None:
        if part is None:
            for number, subject in enumerate(run.manifest.subjects):
                left = sum(shard.stop - shard.start for shard in run.missing if shard.subject == number)
                self._tasks[number] = self._bars.add_task(
                    subject.model, total=run.manifest.images, completed=run.manifest.images - left, start=True
                )
            if done := len(run.shards) - len(run.missing):
                say(f"Going on: {done} of {len(run.shards)} parts are in {run.path}.")
            return
        self._bars.advance(self._tasks[part.shard.subject], part.shard.stop - part.shard.start)
        for note in part.notes:
            if note not in self._said:
                self._said.add(note)
                warn(note)


def _specs(given: Several) -> tuple[str, ...] | None:
    return None if given is None else tuple(spec for one in given for spec in split(one))
