"""Images of ImageNet."""

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile

from xai_core.plugin import CheckpointError, DatasetSource, FileError, check_choice, is_folder
from xai_zoo.folder import Folder
from xai_zoo.image_files import ImageFiles
from xai_zoo.installed import installed_file
from xai_zoo.paths import check_folder
from xai_zoo.torch_file import load_torch_file

SPLITS = ("val", "train")
_DEVKIT = "ILSVRC2012_devkit_t12"
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
    if (meta := folder / "meta.bin").is_file():
        try:
            words, _ = load_torch_file(meta)
            return {wordnet: ", ".join(words[wordnet]) for wordnet in words}
        except (RuntimeError, ValueError, TypeError, EOFError, BadZipFile) as error:
            if isinstance(error, CheckpointError) and error.__cause__ is None:
                raise  # the file exceeds the limit
            raise FileError(
                f"{meta} is not a file of torchvision.datasets.ImageNet; restore it, or remove it to name classes by"
                " their WordNet ids"
            ) from error
    kit = _kit(folder)
    return {} if kit is None else _kit_names(kit)


def _kit(folder: Path) -> bytes | None:
    """Return the class table of the development kit, from the folder or the archive."""
    within = f"{_DEVKIT}/data/meta.mat"
    if (folder / within).is_file():
        return (folder / within).read_bytes()
    if (archive := folder / f"{_DEVKIT}.tar.gz").is_file():
        try:
            with tarfile.open(archive) as opened:
                file = opened.extractfile(within)
                return None if file is None else file.read()
        except (OSError, EOFError, KeyError, tarfile.TarError) as error:
            raise FileError(f"{archive} cannot be read ({error}); expected `{within}` in it") from error
    return None


def _kit_names(kit: bytes) -> Mapping[str, str]:
    from scipy.io import loadmat

    synsets: Sequence[Mapping[str, str]] = loadmat(io.BytesIO(kit), squeeze_me=True)["synsets"]
    return {str(one["WNID"]): str(one["words"]) for one in synsets}
