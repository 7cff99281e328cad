"""Demonstration of the fast methods on sample data, with a report: the work of `xai demo`."""

import functools
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from shlex import join

import torch
import typer

from xai_core import files
from xai_core.cli.actions.demonstration import Demonstration
from xai_core.cli.actions.scores import score_table
from xai_core.cli.console import complain, console, counted, print_line, progress_bar, warn
from xai_core.cli.loading import load
from xai_core.data.sources import Sample
from xai_core.errors import FileError
from xai_core.metric import Metric
from xai_core.plugins.creation import load_dataset
from xai_core.plugins.registry import registry
from xai_core.report import page
from xai_core.report.csv_rows import csv_rows, write_csv
from xai_core.report.curves import overview, plot_curves
from xai_core.report.results import ImageResult, ModelResults
from xai_core.visualization import overlays
from xai_core.visualization.encoding import png

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
    files.make_folder(folder)
    results: list[ModelResults] = []
    with progress_bar() as bar:
        for subject, dataset, samples, _ in opened:
            demonstration = Demonstration(subject, bar)
            images = demonstration.run(samples)
            results.append(ModelResults(subject.spec, dataset, images, _by_reason(demonstration.skipped)))
    chosen = [word for option, value in (("--model", model), ("--data", data)) if value for word in (option, value)]
    command = join(["xai", "demo", *chosen, "--limit", f"{limit}", "--device", f"{subject.device}"])
    title = results[0].title if len(results) == 1 else "Saliency maps of several models"
    cached_plot = functools.cache(plot_curves)
    about = _about(subject.device, demonstration.metrics, command)
    _write(folder, results, cached_plot, page.render(title, results, about, cached_plot))
    for of_model in results:
        console().print(score_table(of_model.title, of_model.images))
        for methods, reason in of_model.skipped.items():
            warn(f"skipped {methods}: {reason}")
    count = counted(sum(len(of_model.images) for of_model in results), "image")
    print_line(f"Explained {count} in {time.perf_counter() - start:.0f} s. Report: {folder / 'index.html'}")
    broken = [reason for *_, reasons in opened for reason in reasons]
    for reason in broken:
        complain(f"skipped: {reason}")
    if broken:
        raise typer.Exit(1)


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


def _by_reason(skipped: Mapping[str, str]) -> Mapping[str, str]:
    """Group the skipped methods by reason. The keys are comma-separated names, and the values are the reasons."""
    methods_of: dict[str, list[str]] = {}
    for method, reason in skipped.items():
        methods_of.setdefault(reason, []).append(method)
    return {", ".join(methods): reason for reason, methods in methods_of.items()}


def _write(folder: Path, results: Sequence[ModelResults], plot: Callable[[ImageResult], bytes], html: str) -> None:
    """Write all files. If there are several models, the images of each model are in a separate folder."""
    folders = [folder]
    if len(results) > 1:
        folders = [folder / name for name in files.distinct(of_model.model for of_model in results)]
    for subfolder, of_model in zip(folders, results, strict=True):
        files.make_folder(subfolder)
        for image in of_model.images:
            methods = files.distinct(explanation.method for explanation in image.explanations)
            for explanation, method in zip(image.explanations, methods, strict=True):
                file = f"{image.file}.{method}"
                files.write_file(subfolder / f"{file}.png", png(explanation.overlay))
                if explanation.parts:
                    parts = overlays.side_by_side(explanation.parts)
                    files.write_file(subfolder / f"{file}.parts.png", png(parts))
            files.write_file(subfolder / f"{image.file}.curves.png", plot(image))
        files.write_file(subfolder / "overview.png", overview(of_model.images))
    write_csv(folder / "results.csv", (row for of_model in results for row in csv_rows(of_model)))
    files.write_file(folder / "index.html", html)


def _about(device: torch.device, metrics: Iterable[Metric], command: str) -> Mapping[str, str]:
    """Return everything that the results depend on."""
    distributions = sorted({(plugin.distribution, plugin.version) for plugin in registry().plugins})
    on_gpu = device.type == "cuda"
    hardware = torch.cuda.get_device_name(device) if on_gpu else f"{torch.get_num_threads()} threads"
    return {
        "Metrics": ", ".join(metric.spec for metric in metrics),
        "Versions": ", ".join(
            f"{name} {number}" for name, number in [("xai-core", version("xai-core")), *distributions]
        ),
        "Torch": f"{torch.__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        "Device": f"{device} ({hardware})",
        "Command": command,
        "Date": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    }
