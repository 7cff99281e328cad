"""Implements `xai demo`: the fast methods on sample data, with a report."""

import time
from functools import partial
from pathlib import Path
from shlex import join

import typer
from rich.progress import Progress, TaskID

from xai_core import files
from xai_core.cli.actions.about import about
from xai_core.cli.actions.demo_files import DemoFiles
from xai_core.cli.actions.demo_summary import summary_lines
from xai_core.cli.actions.demonstration import Demonstration
from xai_core.cli.actions.heads_demonstration import DATA, HeadsDemonstration, installed_model
from xai_core.cli.console import complain, print_line, progress_bar
from xai_core.cli.loading import load
from xai_core.data.sources import Sample
from xai_core.errors import FileError
from xai_core.plugins.creation import load_dataset
from xai_core.report.results import ModelResults

OUT = Path("xai-demo")
SHOWN = (
    ("efficientnet-lite0", "photos"),
    ("shapes-vit", "shapes:split=test"),
    ("shapes-cbam", "shapes:split=test"),
)
"""The default models with their datasets: a CNN on photographs, and two models on data with ground-truth masks."""


def run_demo(
    out: Path | None, model: str | None, data: str | None, limit: int, device: str | None, overwrite: bool
) -> None:
    """Explain the first images of each dataset with every method, score the maps, and write a report."""
    start = time.perf_counter()
    folder = _folder(out, overwrite)
    pairs = [(model or SHOWN[0][0], data or SHOWN[0][1])] if model or data else SHOWN
    opened = [(load(spec, device), dataset, *_samples(dataset, limit)) for spec, dataset in pairs]
    heads = None if model or data else installed_model(device)
    with_heads = [(heads, DATA, *_samples(DATA, limit))] if heads else []
    chosen = [word for option, value in (("--model", model), ("--data", data)) if value for word in (option, value)]
    on_device = opened[0][0].device
    scored, opened = [subject for subject, *_ in opened], [*opened, *with_heads]
    command = join(["xai", "demo", *chosen, "--limit", f"{limit}", "--device", f"{on_device}"])
    with progress_bar() as bar:
        task = bar.add_task("", total=sum(len(samples) for _, _, samples, _ in opened))
        report = partial(_describe, bar, task)
        with_scores = [Demonstration(subject, report) for subject in scored]
        without = [HeadsDemonstration(subject, report) for subject, *_ in with_heads]
        demonstrations: list[Demonstration | HeadsDemonstration] = [*with_scores, *without]
        results = [
            ModelResults(subject.spec, dataset, [], demonstration.skipped)
            for (subject, dataset, *_), demonstration in zip(opened, demonstrations, strict=True)
        ]
        metrics = ", ".join(metric.spec for metric in with_scores[0].metrics)
        written = DemoFiles.create(folder, {"Metrics": metrics, **about(on_device, command)}, results)
        for index, (demonstration, (_, _, samples, _)) in enumerate(zip(demonstrations, opened, strict=True)):
            for image in demonstration.run(samples):
                results[index].images.append(image)
                written.write(index, image)
                bar.advance(task)
    for line in summary_lines(results, folder, time.perf_counter() - start):
        print_line(line)
    broken = [reason for *_, reasons in opened for reason in reasons]
    for reason in broken:
        complain(f"skipped: {reason}")
    if broken:
        raise typer.Exit(1)


def _describe(bar: Progress, task: TaskID, description: str) -> None:
    bar.update(task, description=description)


def _folder(out: Path | None, overwrite: bool) -> Path:
    if out is None:
        return files.unused(OUT)
    if not overwrite and files.is_folder(out) and any(out.iterdir()):
        raise FileError(f"{out} already contains files: pass another --out, or --overwrite to write into it")
    return out


def _samples(data: str, limit: int) -> tuple[list[Sample], list[str]]:
    """Return the first images of a dataset, and a message for each image that cannot be read."""
    dataset = load_dataset(data)
    samples, broken = [], []
    for index in range(min(limit, len(dataset))):
        try:
            samples.append(dataset[index])
        except FileError as error:
            broken.append(str(error))
    if not samples:
        raise FileError(f"{data} contains no readable image: {'; '.join(broken) or 'it is empty'}")
    return samples, broken
