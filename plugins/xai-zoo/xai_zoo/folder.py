"""A folder of images."""

import os
from collections.abc import Iterator
from pathlib import Path

from xai_core.plugin import DatasetSource, FileError
from xai_zoo.image_files import ImageFile, ImageFiles
from xai_zoo.options import given_folder

# What Pillow decodes and people keep pictures in; it also registers films, HDF5 and printers' formats.
EXTENSIONS = (
    *(".apng", ".avif", ".bmp", ".dib", ".gif", ".ico", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx"),
    *(".pbm", ".pcx", ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".psd", ".qoi", ".sgi", ".tga", ".tif", ".tiff", ".webp"),
)
_EXPECTED = "expected a folder of images (.jpg, .png, ...), or of one folder of images per class"


class Folder(DatasetSource):
    """Images in a folder, `folder:PATH`, or in one folder per class within it.

    With one folder per class, a target is the class folder's place in sorted order, and folders within a class
    belong to it. Hidden files and folders are left out. A path that holds commas or equals signs is given as
    `load_dataset("folder", path=...)`.
    """

    name = "folder"

    def load(self, name: str | None, path: str | Path | None = None) -> ImageFiles:  # type: ignore[override] # no more
        folder = given_folder("folder:PATH", name, path)
        if not folder.is_dir():
            raise FileError(f"{folder} {'is a file' if folder.exists() else 'does not exist'}; {_EXPECTED}")
        _, folders, files = next(os.walk(folder, onerror=_refuse))
        classes = sorted(filter(_visible, folders))
        flat = [ImageFile(folder / file, _id(file)) for file in sorted(files) if _picture(file)]
        by_class = [
            ImageFile(file, _id(file.relative_to(folder).as_posix()), target)
            for target, name in enumerate(classes)
            for file in sorted(_below(folder, name))
        ]
        if flat and by_class:
            raise FileError(f"{folder} holds images ({flat[0].id}) beside folders ({by_class[0].id}); {_EXPECTED}")
        if not (flat or by_class):
            raise FileError(f"{folder} holds no images; {_EXPECTED}")
        return ImageFiles(flat) if flat else ImageFiles(by_class, classes)


def _below(folder: Path, name: str) -> Iterator[Path]:
    """The images of a class; where links lead in circles, each folder is walked through once."""
    walked = {folder.resolve(), (folder / name).resolve()}
    for parent, folders, files in os.walk(folder / name, onerror=_refuse, followlinks=True):
        within = {Path(parent, one).resolve(): one for one in sorted(filter(_visible, folders), reverse=True)}
        folders[:] = sorted(one for path, one in within.items() if path not in walked)
        walked |= within.keys()
        yield from (Path(parent, file) for file in files if _picture(file))


def _id(file: str) -> str:
    r"""A file's name as text, no two alike: bytes that are no UTF-8 are written as `\udce9`."""
    return file.replace("\\", "\\\\").encode(errors="backslashreplace").decode()


def _picture(file: str) -> bool:
    return file.lower().endswith(EXTENSIONS) and _visible(file)


def _visible(name: str) -> bool:
    return not name.startswith(".")


def _refuse(error: OSError) -> None:
    raise FileError(f"{error.filename} cannot be listed ({error.strerror}); {_EXPECTED}") from error
