"""Images of ImageNet."""

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xai_core.plugin import CheckpointError, DatasetSource, FileError, check_choice, is_file, is_folder
from xai_zoo.folder import Folder
from xai_zoo.image_files import ImageFiles
from xai_zoo.installed import installed_file
from xai_zoo.paths import check_folder
from xai_zoo.torch_file import load_torch_file

SPLITS = ("val", "train")
_DEVKIT = "ILSVRC2012_devkit_t12"
_MOST_BYTES = 2**24
_EXPECTED = (
    "expected `val` and `train` in it, each with one folder per class, named by its WordNet id (n01440764, ...), as"
    " torchvision.datasets.ImageNet creates them"
)


class ImageNet(DatasetSource):
    """ImageNet 2012 (Russakovsky et al., 2015) from a local folder: `imagenet:FOLDER,split=train`.

    The folder has torchvision's layout: `val` and `train`, each with one folder per class. Labels are always the
    standard ImageNet indices 0-999, even if only some class folders exist. Class names require torchvision's `meta.bin`
    or the development kit in the folder. Otherwise, classes are named by their WordNet ids.

    Options: `split` is `val` (default) or `train`.
    """

    name = "imagenet"

    def load(  # type: ignore[override] # the registry rejects other options
        self, name: str | None, path: str | Path | None = None, split: str = "val"
    ) -> ImageFiles:
        folder = check_folder("imagenet:FOLDER", name, path)
        check_choice("split", split, SPLITS)
        if not is_folder(folder / split):
            raise FileError(f"{folder} contains no folder `{split}`; {_EXPECTED}")
        images = Folder().load(None, folder / split)
        if images.class_names is None:
            raise FileError(f"{folder / split} contains no class folders; {_EXPECTED}")
        ids = installed_file("timm", "timm/data/_info/imagenet_synsets.txt").read_text().split()
        indices = {wordnet: index for index, wordnet in enumerate(ids)}
        if unknown := [wordnet for wordnet in images.class_names if wordnet not in indices]:
            raise FileError(
                f"{folder / split / unknown[0]} is not a class of ImageNet; {_EXPECTED} (for other classes, use"
                " `folder:PATH`)"
            )
        names = _names(folder)
        return ImageFiles(
            [
                file._replace(target=indices[images.class_names[file.target]])
                for file in images.files
                if file.target is not None
            ],
            [names.get(wordnet, wordnet) for wordnet in ids],
        )


def _names(folder: Path) -> Mapping[str, str]:
    """Return the known class names by WordNet id."""
    if is_file(meta := folder / "meta.bin"):
        try:
            words, _ = load_torch_file(meta)
            return {_text(wordnet): ", ".join(map(_text, _texts(words[wordnet]))) for wordnet in words}
        except Exception as error:  # damaged files raise errors of many classes
            if isinstance(error, CheckpointError) and error.__cause__ is None:
                raise  # the file exceeds the limit
            raise FileError(
                f"{meta} is not a file of torchvision.datasets.ImageNet; restore it, or remove it to name classes by"
                " their WordNet ids"
            ) from error
    within = f"{_DEVKIT}/data/meta.mat"
    for file, read in ((folder / within, Path.read_bytes), (folder / f"{_DEVKIT}.tar.gz", _unpacked)):
        if is_file(file):
            try:
                return _kit_names(read(file))
            except Exception as error:  # damaged files raise errors of many classes
                raise FileError(
                    f"{file} cannot be read ({type(error).__name__}: {error}); expected the development kit of"
                    f" ImageNet with `{within}`. Restore it, or remove it to name classes by their WordNet ids"
                ) from error
    return {}


def _unpacked(archive: Path) -> bytes:
    """Return the class table in the archive of the development kit."""
    with tarfile.open(archive) as opened:
        file = opened.extractfile(f"{_DEVKIT}/data/meta.mat")
        content = b"" if file is None else file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"the class table has more than {_MOST_BYTES:,} bytes")
    return content


def _kit_names(table: bytes) -> Mapping[str, str]:
    from scipy.io import loadmat

    synsets: Sequence[Mapping[str, Any]] = loadmat(io.BytesIO(table), squeeze_me=True)["synsets"]
    return {_text(one["WNID"]): _text(one["words"]) for one in synsets}


def _texts(value: Any) -> Sequence[str]:
    if not isinstance(value, tuple | list):
        raise TypeError(f"expected several names, got {value!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a name, got {value!r}")
    return str(value)
