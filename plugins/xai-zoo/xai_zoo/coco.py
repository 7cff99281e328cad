"""COCO, and other data whose annotations are written as COCO's."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from xai_core.plugin import DatasetSource, FileError, MissingDependencyError, OptionError
from xai_zoo import rle
from xai_zoo.annotated import Marked, MarkedImages, Mask
from xai_zoo.options import check_flag, given_folder, given_path

_EXPECTED = "expected COCO's instances, a JSON object of images, annotations and categories"


class Coco(DatasetSource):
    """COCO (Lin et al., 2014), which is on this machine already: `coco:IMAGES,annotations=instances_val2017.json`.

    A sample is an image and one of its categories, `000000000139#person`. A target is the category's place in the order
    of category ids, so 0 to 79. Its mask is all that is marked as this category. Annotations are read at once; images
    are decoded, and masks drawn, when they are asked for. Compressed masks need `pip install 'xai-zoo[coco]'`.

    Options: `annotations`, the file of instances; `crowd=true` takes crowds in, which are left out otherwise.
    """

    name = "coco"

    def load(  # type: ignore[override] # the registry refuses other options
        self,
        name: str | None,
        path: str | Path | None = None,
        annotations: str | Path | None = None,
        crowd: bool = False,
    ) -> MarkedImages:
        folder = given_folder("coco:IMAGES,annotations=FILE", name, path)
        if annotations is None:
            raise OptionError(
                "coco: no annotations are given; expected `coco:IMAGES,annotations=instances_val2017.json`"
            )
        check_flag(self.name, crowd=crowd)
        file = given_path("annotations", annotations)
        if not folder.is_dir():
            raise FileError(f"{folder} is not a folder; expected the one that holds COCO's images, such as `val2017`")
        given = _read(file)
        try:
            names = [category["name"] for category in sorted(given["categories"], key=lambda one: one["id"])]
            items = list(_items(folder, given, crowd))
        except MissingDependencyError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(f"{file} has an entry that cannot be read ({error!r}); {_EXPECTED}") from error
        if not items:
            raise FileError(f"{file} marks no object; {_EXPECTED}")
        return MarkedImages(items, names)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        given = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise FileError(f"{file} cannot be read ({error}); {_EXPECTED}") from error
    if not isinstance(given, dict) or not {"images", "annotations", "categories"} <= given.keys():
        raise FileError(f"{file} is of another kind; {_EXPECTED}")
    return given


def _items(folder: Path, given: Mapping[str, Any], crowd: bool) -> Iterator[Marked]:
    """The samples, by image in the order of the file, and by category id."""
    categories = sorted(given["categories"], key=lambda one: one["id"])
    marked: dict[int, dict[int, list[Any]]] = defaultdict(lambda: defaultdict(list))
    known = {category["id"] for category in categories}
    for one in given["annotations"]:
        if one["category_id"] not in known:
            raise ValueError(f"category {one['category_id']!r}, which is none of the categories")
        if crowd or not one.get("iscrowd"):
            _check(one.get("segmentation") or [])
            marked[one["image_id"]][one["category_id"]].append(one)
    for image in given["images"]:
        for target, category in enumerate(categories):
            if found := marked[image["id"]][category["id"]]:
                yield Marked(
                    path=folder / image["file_name"],
                    id=f"{PurePosixPath(image['file_name']).with_suffix('')}#{category['name']}",
                    target=target,
                    boxes=[
                        (left, top, left + across, top + down) for left, top, across, down in (o["bbox"] for o in found)
                    ],
                    mask=partial(_union, [one.get("segmentation") or [] for one in found]),
                    size=(image["width"], image["height"]),
                )


def _check(segmentation: Any) -> None:
    if isinstance(segmentation, dict):
        if rle.compressed(segmentation) and find_spec("pycocotools") is None:
            raise MissingDependencyError(
                "coco: the masks of these annotations are compressed; `pip install 'xai-zoo[coco]'` reads them"
            )
    elif any(len(polygon) < 6 or len(polygon) % 2 for polygon in segmentation):
        raise ValueError("a polygon of less than three corners, or of half of one")


def _union(segmentations: Sequence[Any], height: int, width: int) -> Mask:
    """Draw what is marked: polygons, [x1, y1, x2, ...] each, or runs."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    for one in segmentations:
        drawn = [rle.decode(one)] if isinstance(one, dict) else [_polygon(corners, height, width) for corners in one]
        for part in drawn:
            if part.shape != mask.shape:
                return part  # of another size than the image, which is refused
            mask |= part
    return mask


def _polygon(corners: Sequence[float], height: int, width: int) -> Mask:
    """Fill a polygon: true on each pixel whose center is inside."""
    from skimage.draw import polygon2mask

    x, y = np.array(corners).reshape(-1, 2).T
    drawn = polygon2mask((height, width), np.stack([y, x], 1) - 0.5)  # type: ignore[no-untyped-call]
    return torch.from_numpy(drawn)
