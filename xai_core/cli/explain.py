"""`xai explain`: saliency of images, as overlays and as arrays."""

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL.Image import Image
from rich.text import Text

from xai_core import files
from xai_core.cli.console import complain, console, progress, table
from xai_core.cli.loading import Subject, flat_maps_shown, load
from xai_core.cli.options import Device, Model
from xai_core.data.images import open_image
from xai_core.errors import FileError
from xai_core.explainer import Explainer
from xai_core.plugins.registry import create_explainer
from xai_core.report import pictures
from xai_core.saliency import Saliency
from xai_core.spec import read_value, split

_WRITTEN = (".png", ".npy", ".parts.png")


def explain(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Image files, or folders of them.")],
    model: Model,
    method: Annotated[str, typer.Option(metavar="M[,M...]", help="See `xai list explainers`.")],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write to.")],
    target: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Id or name of the class.  [default: the predicted one]")
    ] = None,
    layer: Annotated[str | None, typer.Option(metavar="LAYER", help="Where, for methods that take a layer.")] = None,
    device: Device = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Write over files of the same name.")] = False,
) -> None:
    """Explain images: write an overlay and the map for each method.

    The map is a NumPy file, [H,W] float32 in [0,1], at the size that the model sees. In the overlay its highest
    hundredth has the full color. Where a method has parts, such as heads of attention, they are shown side by side in
    a `.parts.png`.
    """
    methods = _methods(method, layer)
    slugs = files.distinct(methods)
    found, failures = find_images(images)
    names = files.distinct(pictures.stem(path.name) for path in found)
    namesakes = Counter(path.name for path in found)
    if not overwrite:
        written = (out / f"{name}.{slug}{end}" for name in names for slug in slugs for end in _WRITTEN)
        files.require_unused(written, "--out")
    subject = load(model, device)
    class_id = None if target is None else subject.class_id(target)
    files.make_folder(out)

    made = table(
        "Image", "Predicted class", "Method", "File", caption=f"In {out}; the map itself is beside each, as .npy."
    )
    with progress() as bar, flat_maps_shown():
        for path, name in bar.track(list(zip(found, names, strict=True)), description="explaining"):
            try:
                image = open_image(path)
            except FileError as error:
                failures.append(str(error))
                continue
            photo, classes, maps = _explain(subject, image, methods.values(), class_id)
            shown = (str(path) if namesakes[path.name] > 1 else path.name, classes)
            for key, slug, saliency in zip(methods, slugs, maps, strict=True):
                file = out / f"{name}.{slug}.png"
                files.write(file, pictures.png(pictures.overlay(photo, saliency.values[0])))
                files.write(file.with_suffix(".npy"), _array(saliency))
                if saliency.parts is not None:
                    strip = pictures.strip(pictures.overlays(photo, saliency.parts[0]))
                    files.write(file.with_suffix(".parts.png"), pictures.png(strip))
                flat = " (found no evidence)" if saliency.constant.tolist()[0] else ""
                made.add_row(*map(Text, (*shown, key + flat, file.name)))
                shown = ("", "")
    if made.row_count:
        console().print(made)
    for failure in failures:
        complain(failure)
    if failures:
        raise typer.Exit(1)


def find_images(given: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Find the files meant, in order, each once: files as they are, and the pictures in folders at any depth."""
    found: dict[Path, Path] = {}
    failures = []
    for path in given:
        if not path.is_dir():
            found.setdefault(path.resolve(), path)
            continue
        within = sorted(file for file in path.rglob("*") if _is_picture(file.relative_to(path), path))
        if not within:
            failures.append(f"{path} holds no images")
        for file in within:
            found.setdefault(file.resolve(), file)
    return list(found.values()), failures


def _is_picture(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.parts)
    return not hidden and file.suffix.lower() in pictures.extensions() and (folder / file).is_file()


def _methods(given: str, layer: str | None) -> Mapping[str, Explainer]:
    options = {} if layer is None else {"layer": read_value(layer)}
    return {spec: create_explainer(spec, **options) for spec in split(given)}


def _explain(
    subject: Subject, image: Image, explainers: Iterable[Explainer], class_id: int | None
) -> tuple[Image, str, Sequence[Saliency]]:
    """Give what the model sees, what it is taken for, and a map for each explainer."""
    pixels = subject.loaded.preprocess(image)[None]
    [predicted] = subject.predict(pixels)
    classes = f"{predicted.name} {predicted.probability:.2f}"
    if class_id is not None and class_id != predicted.id:
        [explained] = subject.predict(pixels, class_id)
        classes += f"\nexplained: {explained.name} {explained.probability:.2f}"
    maps = subject.engine.explain(pixels, explainers, class_id)
    return pictures.seen(subject.loaded, pixels[0]), classes, list(maps.values())


def _array(saliency: Saliency) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, saliency.values[0].cpu().numpy(), allow_pickle=False)
    return buffer.getvalue()
