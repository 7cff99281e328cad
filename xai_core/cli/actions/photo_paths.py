"""Image files among the paths of a command line."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from xai_core import files
from xai_core.cli.actions.photo_folder import SETTINGS
from xai_core.data.image_names import image_extensions

INSTALLED = ("site-packages", "node_modules")


def find_images(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Return the image files among paths, in order and each once, and a message for each path without images.

    A folder stands for the image files in it, at any depth. Hidden folders, virtual environments, installed packages
    and output folders of `xai explain` are skipped. A file is returned even if its extension is unknown.
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
    within = sorted(_images_within(path))
    return within or f"{path} contains no images"


def _images_within(folder: Path) -> Iterator[Path]:
    """Iterate over the image files at any depth of a folder, without the folders that contain no photos of the user."""
    for parent, folders, names in os.walk(folder):
        inside = Path(parent)
        folders[:] = [name for name in folders if not _is_skipped(inside / name)]
        if not files.is_file(inside / SETTINGS):
            yield from (inside / name for name in names if _is_image(inside / name))


def _is_skipped(folder: Path) -> bool:
    """Return whether a folder is hidden, or contains a virtual environment or installed packages."""
    return folder.name.startswith(".") or folder.name in INSTALLED or files.is_file(folder / "pyvenv.cfg")


def _is_image(file: Path) -> bool:
    return not file.name.startswith(".") and file.suffix.lower() in image_extensions() and file.is_file()
