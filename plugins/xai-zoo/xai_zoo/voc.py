"""PASCAL VOC."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch

from xai_core.plugin import DatasetSource, FileError, ImageFileError
from xai_zoo.annotated import Box, Marked, MarkedImages, Mask
from xai_zoo.options import check_flag, check_one_of, given_folder

YEARS = (2007, 2012)
SPLITS = ("train", "val", "trainval", "test")
CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


class Voc(DatasetSource):
    """PASCAL VOC (Everingham et al., 2010), which is on this machine already: `voc:FOLDER`, `voc:FOLDER,year=2007`.

    The folder holds `VOCdevkit/VOC2012`, as torchvision leaves it; `VOCdevkit` itself and `VOC2012` do too. A sample is
    an image and one of its classes, `2007_000032#aeroplane`. Its mask is the class's segmentation, where the image has
    one, otherwise the filled boxes. Annotations are read at once, images and masks when they are asked for.

    Options: `year`, 2012 (the default) or 2007; `split`, `val` (the default), `train`, `trainval` or `test`;
    `difficult=false` leaves out objects that are marked as difficult, though not from a segmentation.
    """

    name = "voc"

    def load(  # type: ignore[override] # the registry refuses other options
        self,
        name: str | None,
        path: str | Path | None = None,
        year: int = 2012,
        split: str = "val",
        difficult: bool = True,
    ) -> MarkedImages:
        folder = given_folder("voc:FOLDER", name, path)
        check_one_of(self.name, YEARS, year=year)
        check_one_of(self.name, SPLITS, split=split)
        check_flag(self.name, difficult=difficult)
        root = _root(folder, year)
        items = list(_items(root, _listed(root / "ImageSets" / "Main", split), difficult))
        if not items:
            raise FileError(f"no object of the {split} split of {root} is left; expected at least one")
        return MarkedImages(items, CLASSES)


def _root(folder: Path, year: int) -> Path:
    within = Path("VOCdevkit") / f"VOC{year}"
    for root in (folder / within, folder / within.name, folder):
        if (root / "ImageSets" / "Main").is_dir():
            return root
    raise FileError(
        f"{folder} does not hold PASCAL VOC {year}; expected `{within.as_posix()}` in it, with Annotations,"
        f" ImageSets/Main and JPEGImages, as torchvision.datasets.VOCDetection(folder, '{year}', download=True) leaves"
        " it"
    )


def _listed(folder: Path, split: str) -> Sequence[str]:
    """The images of a split."""
    try:
        return (folder / f"{split}.txt").read_text(encoding="utf-8").split()
    except OSError as error:
        there = [name for name in SPLITS if (folder / f"{name}.txt").exists()]
        raise FileError(
            f"{folder / split}.txt cannot be read ({error.strerror}); splits there: {', '.join(there) or 'none'}"
        ) from error


def _items(root: Path, images: Sequence[str], difficult: bool) -> Iterator[Marked]:
    for image in images:
        found = _objects(root / "Annotations" / f"{image}.xml", difficult)
        for target in sorted(map(CLASSES.index, found)):
            name = CLASSES[target]
            mask = partial(_segmented, root / "SegmentationClass" / f"{image}.png", target + 1)
            yield Marked(root / "JPEGImages" / f"{image}.jpg", f"{image}#{name}", target, found[name], mask)


def _objects(file: Path, difficult: bool) -> Mapping[str, Sequence[Box]]:
    """The boxes of each class; VOC counts pixels from one, and the last one belongs to the box."""
    found: dict[str, list[Box]] = defaultdict(list)
    try:
        for marked in ElementTree.parse(file).getroot().findall("object"):
            if difficult or marked.findtext("difficult", "0").strip() != "1":
                left, top, right, bottom = (
                    float(marked.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")
                )
                found[marked.findtext("name", "").strip()].append((left - 1, top - 1, right, bottom))
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise FileError(f"{file} cannot be read as an annotation of PASCAL VOC ({error})") from error
    if unknown := found.keys() - set(CLASSES):
        raise FileError(
            f"{file} names {sorted(unknown)[0]!r}; expected the classes of PASCAL VOC: {', '.join(CLASSES)}"
        )
    return found


def _segmented(file: Path, number: int, height: int, width: int) -> Mask | None:
    """Where a segmentation, whose palette's places are the classes from one up, shows class `number`."""
    from PIL import Image

    if not file.exists():
        return None
    try:
        with Image.open(file) as image:
            mode, numbers = image.mode, np.asarray(image)
    except Exception as error:  # decoders raise whatever they trip over
        raise ImageFileError(f"{file} cannot be read as a segmentation ({error})") from error
    if mode not in ("P", "L"):
        raise ImageFileError(
            f"{file} is of mode {mode}; expected a segmentation with a palette, as PASCAL VOC has them"
        )
    return torch.from_numpy(numbers == number)
