"""ImageNet's images."""

import io
import pickle
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from xai_core.plugin import DatasetSource, FileError
from xai_zoo.folder import Folder
from xai_zoo.image_files import ImageFiles
from xai_zoo.installed import installed_file
from xai_zoo.options import check_one_of, given_folder

SPLITS = ("val", "train")
_DEVKIT = "ILSVRC2012_devkit_t12"
_EXPECTED = (
    "expected `val` and `train` in it, each with a folder per class named by its WordNet id (n01440764, ...), as"
    " torchvision.datasets.ImageNet leaves them"
)


class ImageNet(DatasetSource):
    """ImageNet of 2012 (Russakovsky et al., 2015), which is on this machine already: `imagenet:FOLDER,split=train`.

    The folder is torchvision's: `val` and `train`, each with one folder per class. A target is the class's place among
    the thousand, whichever of them are there, so that models trained on ImageNet agree. Classes are named where
    torchvision's `meta.bin`, or the development kit, is beside them; otherwise they are called by their WordNet ids.

    Options: `split`, `val` (the default) or `train`. A path that holds commas is given as `path=`.
    """

    name = "imagenet"

    def load(  # type: ignore[override] # the registry refuses other options
        self, name: str | None, path: str | Path | None = None, split: str = "val"
    ) -> ImageFiles:
        folder = given_folder("imagenet:FOLDER", name, path)
        check_one_of(self.name, SPLITS, split=split)
        if not (folder / split).is_dir():
            raise FileError(f"{folder} holds no folder `{split}`; {_EXPECTED}")
        given = Folder().load(None, folder / split)
        if given.class_names is None:
            raise FileError(f"the images of {folder / split} are not sorted by class; {_EXPECTED}")
        ids = installed_file("timm", "timm/data/_info/imagenet_synsets.txt").read_text().split()
        places = {wordnet: place for place, wordnet in enumerate(ids)}
        if unknown := [wordnet for wordnet in given.class_names if wordnet not in places]:
            raise FileError(
                f"{folder / split / unknown[0]} is no class of ImageNet; {_EXPECTED} (other classes: `folder:PATH`)"
            )
        names = _names(folder)
        return ImageFiles(
            [
                file._replace(target=places[given.class_names[file.target]])
                for file in given.files
                if file.target is not None
            ],
            [names.get(wordnet, wordnet) for wordnet in ids],
        )


def _names(folder: Path) -> Mapping[str, str]:
    """The names of classes by WordNet id, where they are known."""
    if (meta := folder / "meta.bin").is_file():
        try:
            words, _ = torch.load(meta, weights_only=True)
            return {wordnet: ", ".join(words[wordnet]) for wordnet in words}
        except (RuntimeError, ValueError, TypeError, EOFError, pickle.UnpicklingError) as error:
            raise FileError(
                f"{meta} is not what torchvision.datasets.ImageNet writes; without it classes are called by their ids"
            ) from error
    kit = _kit(folder)
    return {} if kit is None else _kit_names(kit)


def _kit(folder: Path) -> bytes | None:
    """The development kit's table of classes, unpacked or not."""
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
