"""A folder of images."""

import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from xai_core.plugin import DatasetSource, DatasetWarning, FileError, is_file, is_folder, is_openable
from xai_zoo.image_files import ImageFile, ImageFiles
from xai_zoo.paths import check_folder

# Common image formats that Pillow decodes. Pillow also registers extensions of videos, HDF5 and PostScript.
EXTENSIONS = (
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx"),
    *(".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp"),
)
_EXPECTED = "expected a folder of images (.jpg, .png, ...), or of one folder of images per class"


class Folder(DatasetSource):
    """Images of a folder, `folder:PATH`, which may contain one folder per class.

    With one folder per class, the label is the index of the class folder in sorted order. Subfolders belong to their
    class. Hidden files and folders are excluded. Pipes, sockets and devices are skipped with a warning. Quote a path
    that contains commas or equals signs, as in `folder:"a,b"`, or call `load_dataset("folder", path=...)`.
    """

    name = "folder"

    def load(self, name: str | None, path: str | Path | None = None) -> ImageFiles:  # type: ignore[override] # no other options
        folder = check_folder("folder:PATH", name, path)
        if not is_folder(folder):
            raise FileError(f"{folder} {'is a file' if is_file(folder) else 'does not exist'}; {_EXPECTED}")
        _, folders, files = next(os.walk(folder, onerror=_raise))
        classes = sorted(filter(_is_visible, folders))
        targets: dict[Path, int | None] = {folder / file: None for file in sorted(files) if _is_image(file)}
        targets |= {file: target for target, name in enumerate(classes) for file in sorted(_below(folder, name))}
        images = [
            ImageFile(file, _id(file.relative_to(folder).as_posix()), target)
            for file, target in targets.items()
            if is_openable(file)
        ]
        if skipped := targets.keys() - {image.path for image in images}:
            _warn(folder, sorted(skipped))
        unlabeled = [image for image in images if image.target is None]
        by_class = [image for image in images if image.target is not None]
        if unlabeled and by_class:
            raise FileError(
                f"{folder} contains images ({unlabeled[0].id}) and folders of images ({by_class[0].id}); {_EXPECTED}"
            )
        if not (unlabeled or by_class):
            raise FileError(f"{folder} contains no images; {_EXPECTED}")
        return ImageFiles(unlabeled) if unlabeled else ImageFiles(by_class, classes)


def _below(folder: Path, name: str) -> Iterator[Path]:
    """Yield the images of a class. If links form a cycle, each folder is visited once."""
    visited = {folder.resolve(), (folder / name).resolve()}
    for parent, folders, files in os.walk(folder / name, onerror=_raise, followlinks=True):
        within = {Path(parent, one).resolve(): one for one in sorted(filter(_is_visible, folders), reverse=True)}
        folders[:] = sorted(one for path, one in within.items() if path not in visited)
        visited |= within.keys()
        yield from (Path(parent, file) for file in files if _is_image(file))


def _warn(folder: Path, skipped: Sequence[Path]) -> None:
    """Warn about pipes, sockets and devices."""
    names = ", ".join(_id(file.relative_to(folder).as_posix()) for file in skipped[:3])
    more = f" and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    message = f"{folder} contains files that are pipes, sockets or devices and are skipped: {names}{more}"
    warnings.warn(DatasetWarning(message), stacklevel=3)


def _id(file: str) -> str:
    r"""Return a file's name as unique text. Bytes that are not UTF-8 are written as `\udce9`."""
    return file.replace("\\", "\\\\").encode(errors="backslashreplace").decode()


def _is_image(file: str) -> bool:
    return file.lower().endswith(EXTENSIONS) and _is_visible(file)


def _is_visible(name: str) -> bool:
    return not name.startswith(".")


def _raise(error: OSError) -> None:
    raise FileError(f"{error.filename} cannot be listed ({error.strerror}); {_EXPECTED}") from error
