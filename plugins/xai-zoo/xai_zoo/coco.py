"""COCO, and other datasets with annotations in COCO format."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import torch

from xai_core.plugin import DatasetSource, FileError, OptionError, box_mask, check_flag, is_folder
from xai_zoo import rle
from xai_zoo.annotated import AnnotatedImage, AnnotatedImages, Mask
from xai_zoo.coco_format import EXPECTED, CocoFile, CocoObject, Id, read_coco
from xai_zoo.paths import check_folder, check_path


class Coco(DatasetSource):
    """COCO (Lin et al., 2014) from a local folder: `coco:IMAGES,annotations=instances_val2017.json`.

    A sample is an image with one of its categories, such as `000000000139#person`. The label is the index of the
    category in the order of category ids, 0 to 79. The mask is the union of all objects of the category. The box of an
    object without polygon and mask is filled. All annotations are read when the dataset is loaded. An image is
    decoded, and its mask is drawn, when the sample is accessed.

    Options: `annotations` is the file of instances. `crowd=true` includes crowd annotations (default: false).
    """

    name = "coco"

    def load(  # type: ignore[override] # the registry rejects other options
        self,
        name: str | None,
        path: str | Path | None = None,
        annotations: str | Path | None = None,
        crowd: bool = False,
    ) -> AnnotatedImages:
        folder = check_folder("coco:IMAGES,annotations=FILE", name, path)
        if annotations is None:
            raise OptionError(
                "coco: the annotations are missing; expected `coco:IMAGES,annotations=instances_val2017.json`"
            )
        check_flag("crowd", crowd)
        file = check_path("annotations", annotations)
        if not is_folder(folder):
            raise FileError(f"{folder} is not a folder; expected the folder of COCO's images, such as `val2017`")
        content = read_coco(file)
        items = list(_items(folder, content, crowd))
        if not items:
            raise FileError(f"{file} contains no annotated object; {EXPECTED}")
        return AnnotatedImages(items, [category.name for category in content.categories])


def _items(folder: Path, content: CocoFile, crowd: bool) -> Iterator[AnnotatedImage]:
    """Yield the samples, by image in the order of the file, then by category id."""
    objects: dict[tuple[Id, Id], list[CocoObject]] = defaultdict(list)
    for one in content.objects:
        if crowd or not one.is_crowd:
            objects[one.image, one.category].append(one)
    image_names = _unique(
        [str(PurePosixPath(image.file_name).with_suffix("")) for image in content.images],
        [image.file_name for image in content.images],
    )
    category_names = _unique(
        [category.name for category in content.categories],
        [f"{category.name}@{category.id}" for category in content.categories],
    )
    for image, image_name in zip(content.images, image_names, strict=True):
        for target, (category, category_name) in enumerate(zip(content.categories, category_names, strict=True)):
            if found := objects.get((image.id, category.id)):
                yield AnnotatedImage(
                    path=folder / image.file_name,
                    id=f"{image_name}#{category_name}",
                    target=target,
                    boxes=[one.box for one in found],
                    mask=partial(_union, found),
                    size=(image.width, image.height),
                )


def _unique(names: Sequence[str], longer: Sequence[str]) -> Sequence[str]:
    """Return names. A longer name replaces each name that occurs more than once."""
    counts = Counter(names)
    return [name if counts[name] == 1 else other for name, other in zip(names, longer, strict=True)]


def _union(objects: Sequence[CocoObject], height: int, width: int) -> Mask:
    """Return the union of the masks of objects."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    for one in objects:
        mask |= _object_mask(one, height, width)
    return mask


def _object_mask(one: CocoObject, height: int, width: int) -> Mask:
    """Return the mask of an object, or its filled box if the segmentation covers no pixel."""
    if isinstance(one.segmentation, Mapping):
        mask = rle.decode(one.segmentation)
    else:
        mask = torch.zeros(height, width, dtype=torch.bool)
        for corners in one.segmentation:
            mask |= _polygon(corners, height, width)
    return mask if mask.any() else box_mask(torch.tensor([one.box], dtype=torch.float64), height, width)


def _polygon(corners: Sequence[float], height: int, width: int) -> Mask:
    """Return the mask of a polygon: true for each pixel whose center is inside."""
    from skimage.draw import polygon2mask

    x, y = np.array(corners, dtype=np.float64).reshape(-1, 2).T
    drawn = polygon2mask((height, width), np.stack([y, x], 1) - 0.5)  # type: ignore[no-untyped-call]
    return torch.from_numpy(drawn)
