"""PASCAL VOC."""

import errno
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch

from xai_core.plugin import DatasetSource, FileError, ImageFileError, check_choice, check_flag, is_folder, is_openable
from xai_zoo.annotated import AnnotatedImage, AnnotatedImages, Box, Mask
from xai_zoo.paths import check_folder

YEARS = (2007, 2012)
SPLITS = ("train", "val", "trainval", "test")
CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


class Voc(DatasetSource):
    """PASCAL VOC (Everingham et al., 2010) from a local folder: `voc:FOLDER`, `voc:FOLDER,year=2007`.

    The folder contains `VOCdevkit/VOC2012`, as torchvision creates it. `VOCdevkit` and `VOC2012` are accepted too. A
    sample is an image with one of its classes, such as `2007_000032#aeroplane`. Its mask is the segmentation of the
    class. If the image has no segmentation, the boxes are filled. All annotations are read when the dataset is loaded.
    An image and its mask are read when the sample is accessed.

    Options: `year` is 2012 (default) or 2007. `split` is `val` (default), `train`, `trainval` or `test`.
    `difficult=false` excludes objects that are annotated as difficult. They remain in segmentations.
    """

    name = "voc"

    def load(  # type: ignore[override] # the registry rejects other options
        self,
        name: str | None,
        path: str | Path | None = None,
        year: int = 2012,
        split: str = "val",
        difficult: bool = True,
    ) -> AnnotatedImages:
        folder = check_folder("voc:FOLDER", name, path)
        check_choice("year", year, YEARS)
        check_choice("split", split, SPLITS)
        check_flag("difficult", difficult)
        root = _root(folder, year)
        items = list(_items(root, _listed(root / "ImageSets" / "Main", split), difficult))
        if not items:
            raise FileError(f"the {split} split of {root} contains no annotated object; expected at least one")
        return AnnotatedImages(items, CLASSES)


def _root(folder: Path, year: int) -> Path:
    within = Path("VOCdevkit") / f"VOC{year}"
    for root in (folder / within, folder / within.name, folder):
        if is_folder(root / "ImageSets" / "Main"):
            return root
    raise FileError(
        f"{folder} does not contain PASCAL VOC {year}; expected `{within.as_posix()}` in it, with Annotations,"
        f" ImageSets/Main and JPEGImages, as torchvision.datasets.VOCDetection(folder, '{year}', download=True) creates"
        " it"
    )


def _listed(folder: Path, split: str) -> Sequence[str]:
    """Return the names of the images of a split, each once."""
    try:
        return [*dict.fromkeys(_content(folder / f"{split}.txt").decode().split())]
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        existing = [name for name in SPLITS if (folder / f"{name}.txt").exists()]
        raise FileError(
            f"{folder / split}.txt cannot be read ({reason}); existing splits: {', '.join(existing) or 'none'}"
        ) from error


def _items(root: Path, images: Sequence[str], difficult: bool) -> Iterator[AnnotatedImage]:
    for image in images:
        boxes, size = _annotation(root / "Annotations" / f"{image}.xml", difficult)
        for target in sorted(map(CLASSES.index, boxes)):
            name = CLASSES[target]
            mask = partial(_segmented, root / "SegmentationClass" / f"{image}.png", target + 1)
            file = root / "JPEGImages" / f"{image}.jpg"
            yield AnnotatedImage(file, f"{image}#{name}", target, boxes[name], mask, size)


def _annotation(file: Path, difficult: bool) -> tuple[Mapping[str, Sequence[Box]], tuple[int, int] | None]:
    """Return the boxes of each class, and the width and height of the image if the file contains them."""
    boxes: dict[str, list[Box]] = defaultdict(list)
    try:
        root = ElementTree.fromstring(_content(file))
        for element in root.findall("object"):
            if difficult or element.findtext("difficult", "0").strip() != "1":
                boxes[element.findtext("name", "").strip()].append(_box(element))
        width, height = root.findtext("size/width"), root.findtext("size/height")
        size = None if width is None or height is None else (int(width), int(height))
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise FileError(f"{file} cannot be read as a PASCAL VOC annotation ({error})") from error
    if unknown := boxes.keys() - set(CLASSES):
        raise FileError(
            f"{file} contains the class {sorted(unknown)[0]!r}; expected the classes of PASCAL VOC:"
            f" {', '.join(CLASSES)}"
        )
    return boxes, size


def _box(element: ElementTree.Element) -> Box:
    """Return the box of an object, 0-based and half-open. VOC boxes are 1-based and include the last pixel."""
    left, top, right, bottom = (
        float(element.findtext(f"bndbox/{side}", "")) for side in ("xmin", "ymin", "xmax", "ymax")
    )
    if not (-math.inf < left <= right < math.inf and -math.inf < top <= bottom < math.inf):
        raise ValueError(f"a box from ({left:g}, {top:g}) to ({right:g}, {bottom:g})")
    return left - 1, top - 1, right, bottom


def _content(file: Path) -> bytes:
    if not is_openable(file):
        raise OSError(errno.EINVAL, "it is a pipe, socket or device")
    return file.read_bytes()


def _segmented(file: Path, number: int, height: int, width: int) -> Mask | None:
    """Return the mask of class `number` in a segmentation, whose palette indices are class numbers from 1."""
    from PIL import Image

    if not file.exists():
        return None
    if not is_openable(file):
        raise ImageFileError(f"{file} is a pipe, socket or device; expected a segmentation image")
    try:
        with Image.open(file, formats=("PNG",)) as image:
            if image.size != (width, height):
                return torch.zeros((), dtype=torch.bool).expand(image.height, image.width)  # the caller raises an error
            mode, numbers = image.mode, np.asarray(image)
    except Exception as error:  # decoders raise errors of any class
        raise ImageFileError(f"{file} cannot be read as a segmentation ({error})") from error
    if mode not in ("P", "L"):
        raise ImageFileError(f"{file} has mode {mode}; expected a segmentation image with a palette, as in PASCAL VOC")
    return torch.from_numpy(numbers == number)
