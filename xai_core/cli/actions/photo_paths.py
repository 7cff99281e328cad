"""Image files among the paths of a command line."""

from collections.abc import Iterable
from pathlib import Path

from xai_core import files
from xai_core.cli.actions.photo_folder import SETTINGS
from xai_core.data.image_names import image_extensions


def find_images(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Return the image files among paths, in order and each once, and a message for each path without images.

    A folder stands for the image files in it, at any depth, except in output folders of `xai explain`. A file is
    returned even if its extension is unknown.
    """
    images: dict[Path, Path] = {}
    failures = []
    for path in paths:
        found = _images_of(path)
        if isinstance(found, str):
            failures.append(found)
            continue
        for file in found:
            images.setdefault(file.resolve(), file)
    return list(images.values()), failures


def _images_of(path: Path) -> list[Path] | str:
    """Return the image files that a path stands for, or a message if there are none."""
    if files.is_file(path):
        return [path]
    if not files.is_folder(path):
        return f"{path} does not exist, or is not a regular file; expected an image file or a folder"
    found = [file for file in path.rglob("*") if _is_image(file.relative_to(path), path)]
    outputs = {folder for folder in {file.parent for file in found} if files.is_file(folder / SETTINGS)}
    within = sorted(file for file in found if file.parent not in outputs)
    return within or f"{path} contains no images"


def _is_image(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.parts)
    return not hidden and file.suffix.lower() in image_extensions() and (folder / file).is_file()
