"""Images of ImageNet."""

from collections.abc import Sequence
from pathlib import Path

from xai_core.plugin import DatasetSource, FileError, check_choice, is_folder
from xai_zoo.folder import Folder
from xai_zoo.image_files import ImageFiles
from xai_zoo.imagenet import class_names
from xai_zoo.installed import installed_file
from xai_zoo.paths import check_folder

SPLITS = ("val", "train")
_EXPECTED = (
    "expected `val` and `train` in it, each with one folder per class, named by its WordNet id (n01440764, ...), as"
    " torchvision.datasets.ImageNet creates them"
)


class ImageNet(DatasetSource):
    """ImageNet 2012 (Russakovsky et al., 2015) from a local folder: `imagenet:FOLDER,split=train`.

    The folder has torchvision's layout: `val` and `train`, each with one folder per class. Labels are always the
    standard ImageNet indices 0-999, even if only some class folders exist. The class names are torchvision's.

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
        indices = {wordnet: index for index, wordnet in enumerate(_wordnet_ids())}
        if unknown := [wordnet for wordnet in images.class_names if wordnet not in indices]:
            raise FileError(
                f"{folder / split / unknown[0]} is not a class of ImageNet; {_EXPECTED} (for other classes, use"
                " `folder:PATH`)"
            )
        return ImageFiles(
            [
                file._replace(target=indices[images.class_names[file.target]])
                for file in images.files
                if file.target is not None
            ],
            class_names(),
        )


def _wordnet_ids() -> Sequence[str]:
    """Return the WordNet id of each class."""
    path = installed_file("timm", "timm/data/_info/imagenet_synsets.txt")
    try:
        ids = path.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(f"{path} cannot be read ({error}); reinstall timm") from error
    if len({*ids}) != len(class_names()):
        raise FileError(f"{path} contains {len({*ids})} different WordNet ids, expected 1000; reinstall timm")
    return ids
