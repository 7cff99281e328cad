"""Maps of image files, written as overlays and arrays: the work of `xai explain`."""

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import typer
from PIL.Image import Image

from xai_core import files
from xai_core.cli.console import complain, console, plain, progress_bar, table
from xai_core.cli.loading import ModelOnDevice, constant_map_warnings_hidden, load
from xai_core.data.image_names import image_extensions, stem
from xai_core.data.images import open_image
from xai_core.errors import FileError
from xai_core.explainer import Explainer
from xai_core.plugins.creation import create_explainer
from xai_core.saliency import Saliency
from xai_core.spec import read_value, split
from xai_core.visualization import overlays
from xai_core.visualization.encoding import png
from xai_core.visualization.photos import model_view

_SUFFIXES = (".png", ".npy", ".parts.png")


def explain_images(
    paths: Iterable[Path],
    spec: str,
    methods: str,
    out: Path,
    target: str | None,
    layer: str | None,
    device: str | None,
    overwrite: bool,
) -> None:
    """Write the overlay and the map of each image and method into the folder `out`, and print a table of the files."""
    explainers = _explainers(methods, layer)
    slugs = files.distinct(explainers)
    images, failures = find_images(paths)
    names = files.distinct(stem(path.name) for path in images)
    images_of_name = Counter(path.name for path in images)
    if not overwrite:
        outputs = (out / f"{name}.{slug}{suffix}" for name in names for slug in slugs for suffix in _SUFFIXES)
        files.require_unused(outputs, "--out")
    model = load(spec, device)
    class_id = None if target is None else model.class_id(target)
    files.make_folder(out)

    caption = f"Folder: {out}. The .npy file beside each overlay contains the map."
    written = table("Image", "Predicted class", "Method", "Overlay", caption=caption)
    with progress_bar() as bar, constant_map_warnings_hidden():
        for path, name in bar.track(list(zip(images, names, strict=True)), description="explaining"):
            try:
                image = open_image(path)
            except FileError as error:
                failures.append(str(error))
                continue
            photo, classes, maps = _explain(model, image, explainers.values(), class_id)
            shown = (str(path) if images_of_name[path.name] > 1 else path.name, classes)
            for method, slug, saliency in zip(explainers, slugs, maps, strict=True):
                file = out / f"{name}.{slug}.png"
                files.write_file(file, png(overlays.overlay(photo, saliency.values[0])))
                files.write_file(file.with_suffix(".npy"), _array(saliency))
                if saliency.parts is not None:
                    strip = overlays.side_by_side(overlays.part_overlays(photo, saliency.parts[0]))
                    files.write_file(file.with_suffix(".parts.png"), png(strip))
                note = " (constant map)" if saliency.constant.tolist()[0] else ""
                written.add_row(*map(plain, (*shown, method + note, file.name)))
                shown = ("", "")
    if written.row_count:
        console().print(written)
    for failure in failures:
        complain(failure)
    if failures:
        raise typer.Exit(1)


def find_images(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Return the image files among paths, in order and each once, and a message for each folder without images.

    A folder stands for the image files in it, at any depth. A path that is not a folder is returned unchecked.
    """
    images: dict[Path, Path] = {}
    failures = []
    for path in paths:
        if not files.is_folder(path):
            images.setdefault(path.resolve(), path)
            continue
        within = sorted(file for file in path.rglob("*") if _is_image(file.relative_to(path), path))
        if not within:
            failures.append(f"{path} contains no images")
        for file in within:
            images.setdefault(file.resolve(), file)
    return list(images.values()), failures


def _is_image(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.parts)
    return not hidden and file.suffix.lower() in image_extensions() and (folder / file).is_file()


def _explainers(methods: str, layer: str | None) -> Mapping[str, Explainer]:
    options = {} if layer is None else {"layer": read_value(layer)}
    return {spec: create_explainer(spec, **options) for spec in split(methods)}


def _explain(
    model: ModelOnDevice, image: Image, explainers: Iterable[Explainer], class_id: int | None
) -> tuple[Image, str, Sequence[Saliency]]:
    """Return the image as the model sees it, a description of its classes, and a map for each explainer."""
    pixels = model.loaded.preprocess(image)[None]
    [predicted] = model.predict(pixels)
    classes = f"{predicted.name} {predicted.probability:.2f}"
    if class_id is not None and class_id != predicted.id:
        [explained] = model.predict(pixels, class_id)
        classes += f"\nexplained: {explained.name} {explained.probability:.2f}"
    maps = model.engine.explain(pixels, explainers, class_id)
    return model_view(pixels[0], model.loaded.restore), classes, list(maps.values())


def _array(saliency: Saliency) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, saliency.values[0].cpu().numpy(), allow_pickle=False)
    return buffer.getvalue()
