"""Implements `xai explain`: maps of image files as overlays, arrays, contact sheets and tables."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from shlex import join

import typer

from xai_core.cli.actions.about import about
from xai_core.cli.actions.overlapped import overlapped
from xai_core.cli.actions.photo_explanation import ExplainedPhoto, Photo, PhotoExplainer, read_photo
from xai_core.cli.actions.photo_files import Record, described, is_other, predicted_of, write_photo, write_table
from xai_core.cli.actions.photo_folder import PhotoFolder
from xai_core.cli.actions.photo_methods import ALL, selected_methods
from xai_core.cli.actions.photo_page import PAGE, write_page
from xai_core.cli.actions.photo_paths import find_images
from xai_core.cli.actions.photo_targets import NotInPhotoError, PhotoTargets
from xai_core.cli.console import complain, console, counted, plain, print_line, progress_bar, table, warn
from xai_core.cli.loading import constant_map_warnings_hidden, load
from xai_core.data.image_names import short_names
from xai_core.errors import FileError
from xai_core.spec import split

LONGEST_TABLE = 20
"""Largest number of photos that are listed in the terminal."""


def explain_images(
    paths: Iterable[Path],
    spec: str,
    methods: str,
    out: Path | None,
    *,
    classes: Sequence[str],
    contrasts: Sequence[str],
    boxes: Sequence[str],
    texts: Sequence[str],
    top: int | None,
    layer: str | None,
    device: str | None,
    crop: bool,
    page: bool,
    overwrite: bool,
) -> None:
    """Write the overlays, the maps, a contact sheet and a record of each image, and print a table of the files."""
    explainers, skipped = selected_methods(methods, layer)
    images, failures = find_images(paths)
    for failure in failures:  # before the model is loaded
        complain(failure)
    if not images:
        raise typer.Exit(1)
    targets = {"classes": [*classes], "contrasts": [*contrasts], "boxes": [*boxes], "texts": [*texts], "top": top}
    settings = {"model": spec, **targets, "layer": layer, "crop": crop}
    folder = PhotoFolder.open(out, settings, overwrite)
    names = dict(zip(images, folder.name_photos(images, overwrite), strict=True))
    model = load(spec, device)
    pairs = [split(pair) for pair in contrasts]
    selected = PhotoTargets.parse(classes, pairs, boxes, texts, top, model.loaded.class_names)
    explainer = PhotoExplainer(model, explainers, selected, crop)

    def read(path: Path) -> Photo | Record | str:
        """Return a photo, the record of a photo that an earlier run explained, or a message."""
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            record = folder.done(path, digest, explainers, page)
            return record or read_photo(path, names[path], digest)
        except (FileError, OSError) as error:
            return str(error)

    def compute(content: Photo | Record | str) -> ExplainedPhoto | Record | str:
        if not isinstance(content, Photo):
            return content
        try:
            explained = explainer.explain(content)
        except NotInPhotoError as error:
            return f"{content.path}: {error}"
        folder.create()  # only now: a mistake in an option leaves no folder behind
        return explained

    def write(result: ExplainedPhoto | Record | str) -> Record | str:
        if not isinstance(result, ExplainedPhoto):
            return result
        return write_photo(result, folder.path, folder.records.get(str(result.photo.path)), page)

    records: list[Record] = []
    later: list[str] = []
    with progress_bar() as bar, constant_map_warnings_hidden():
        results = overlapped(images, read, compute, write)
        for result in bar.track(results, total=len(images), description="explaining"):
            if isinstance(result, str):
                later.append(result)
            else:
                records.append(result)
                later += [f"{result['image']}: {failure}" for failure in result["failures"]]
    if records:
        write_table(folder.path, records)
    unsuitable = {method: reason for record in records for method, reason in record["skipped"].items()}
    if page and records:
        command = join(["xai", "explain", "--model", spec, "--method", methods])
        write_page(folder.path, spec, records, {**skipped, **unsuitable}, about(model.device, command))
    _print(records, folder.path)
    if page and records:
        print_line(f"Page: {folder.path / PAGE}")
    for method, reason in {**skipped, **unsuitable}.items():
        (warn if methods == ALL else complain)(f"skipped {method}: {reason}")
    for failure in later:
        complain(failure)
    if failures or later or (unsuitable and methods != ALL):
        raise typer.Exit(1)


def _print(records: Sequence[Record], folder: Path) -> None:
    """Print a table of the overlays, or only their number if there are many photos."""
    if 0 < len(records) <= LONGEST_TABLE:
        several = any(is_other(row, predicted_of(record)) for record in records for row in record["maps"])
        written = table("Image", "Predicted class", "Method", *["Explained class"] * several, "Overlay")
        names = short_names([record["image"] for record in records])
        for record, name in zip(records, names, strict=True):
            predicted = predicted_of(record)
            shown = (name, described(predicted) if predicted else "")
            for row in record["maps"]:
                method = row["method"] + (" (constant map)" if row["constant"] else "")
                target = [described({**row, "name": row["target"]})] * several
                written.add_row(*map(plain, (*shown, method, *target, row["overlay"])))
                shown = ("", "")
        console().print(written)
    print_line(f"Explained {counted(len(records), 'image')}. Folder: {folder}")
