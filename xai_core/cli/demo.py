"""`xai demo`: explain a few photographs by every method that suits a model, score the maps, and show it all."""

import functools
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from shlex import join
from typing import Annotated

import torch
import typer

from xai_core import files
from xai_core.cli.console import complain, console, progress, say, warn
from xai_core.cli.demonstration import Demonstration
from xai_core.cli.loading import load
from xai_core.cli.options import Device
from xai_core.cli.scores import score_table
from xai_core.data.sources import Sample
from xai_core.errors import FileError
from xai_core.metric import Metric
from xai_core.plugins.registry import load_dataset, registry
from xai_core.report import page, pictures
from xai_core.report.curves import plot, sheet
from xai_core.report.results import Exhibit, Result, rows
from xai_core.report.rows import write_csv

OUT = Path("xai-demo")
SHOWN = (
    ("efficientnet-lite0", "photos"),
    ("shapes-vit", "shapes:split=test"),
    ("shapes-cbam", "shapes:split=test"),
)
"""Which models on which data, unless the user says: a CNN on photographs, and models on data whose truth is known."""


def demo(
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help=f"Folder to write to.  [default: {OUT}, or {OUT}-2, ... if it exists]"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="See `xai list models`.  [default: efficientnet-lite0, and two for shapes]"),
    ] = None,
    data: Annotated[
        str | None, typer.Option(metavar="SPEC", help="See `xai list datasets`.  [default: photos, and shapes]")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="How many images of each, from the first.")] = 3,
    device: Device = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write into a folder that holds files.")] = False,
) -> None:
    """Explain photographs and shapes by every method, score the maps, show it all."""
    start = time.perf_counter()
    folder = _folder(out, overwrite)
    given = [(model or SHOWN[0][0], data or SHOWN[0][1])] if model or data else SHOWN
    opened = [(load(model, device), data, *_samples(data, limit)) for model, data in given]
    files.make_folder(folder)
    exhibits: list[Exhibit] = []
    with progress() as bar:
        for subject, name, samples, _ in opened:
            demonstration = Demonstration(subject, bar)
            results = demonstration.run(samples)
            exhibits.append(Exhibit(subject.spec, name, results, _together(demonstration.left_out)))
    chosen = [word for option, value in (("--model", model), ("--data", data)) if value for word in (option, value)]
    command = join(["xai", "demo", *chosen, "--limit", f"{limit}", "--device", f"{subject.device}"])
    title = exhibits[0].title if len(exhibits) == 1 else "What the models look at"
    drawn = functools.cache(plot)
    about = _about(subject.device, demonstration.metrics, command)
    _write(folder, exhibits, drawn, page.render(title, exhibits, about, drawn))
    for exhibit in exhibits:
        console().print(score_table(exhibit.title, exhibit.results))
        for methods, reason in exhibit.left_out.items():
            warn(f"{methods}: left out: {reason}")
    images = sum(len(exhibit.results) for exhibit in exhibits)
    say(f"{images} images in {time.perf_counter() - start:.0f} s; open {folder / 'index.html'}")
    broken = [reason for *_, reasons in opened for reason in reasons]
    for reason in broken:
        complain(f"left out: {reason}")
    if broken:
        raise typer.Exit(1)


def _folder(out: Path | None, overwrite: bool) -> Path:
    if out is None:
        return files.unused(OUT)
    if not overwrite and out.is_dir() and any(out.iterdir()):
        raise FileError(f"{out} already holds files; give another --out, or --overwrite to write into it")
    return out


def _samples(data: str, limit: int) -> tuple[list[Sample], list[str]]:
    """Open the first images, and say which ones are broken."""
    dataset = load_dataset(data)
    samples, broken = [], []
    for index in range(min(limit, len(dataset))):
        try:
            samples.append(dataset[index])
        except FileError as error:
            broken.append(str(error))
    if not samples:
        raise FileError(f"{data} gives no image that can be read; {'; '.join(broken) or 'it is empty'}")
    return samples, broken


def _together(left_out: Mapping[str, str]) -> Mapping[str, str]:
    """Name methods together that share a reason."""
    by_reason: dict[str, list[str]] = {}
    for method, reason in left_out.items():
        by_reason.setdefault(reason, []).append(method)
    return {", ".join(methods): reason for reason, methods in by_reason.items()}


def _write(folder: Path, exhibits: Sequence[Exhibit], drawn: Callable[[Result], bytes], html: str) -> None:
    """Write it all; where there are several exhibits, the pictures of each into a folder of its own."""
    folders = [folder]
    if len(exhibits) > 1:
        folders = [folder / name for name in files.distinct(exhibit.model for exhibit in exhibits)]
    for within, exhibit in zip(folders, exhibits, strict=True):
        files.make_folder(within)
        for result in exhibit.results:
            methods = files.distinct(one.method for one in result.explained)
            for one, method in zip(result.explained, methods, strict=True):
                files.write(within / f"{result.file}.{method}.png", pictures.png(one.overlay))
                if one.parts:
                    files.write(within / f"{result.file}.{method}.parts.png", pictures.png(pictures.strip(one.parts)))
            files.write(within / f"{result.file}.curves.png", drawn(result))
        files.write(within / "overview.png", sheet(exhibit.results))
    write_csv(folder / "results.csv", (row for exhibit in exhibits for row in rows(exhibit)))
    files.write(folder / "index.html", html)


def _about(device: torch.device, metrics: Iterable[Metric], command: str) -> Mapping[str, str]:
    """What the results depend on."""
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
