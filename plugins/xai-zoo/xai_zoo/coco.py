"""COCO, and other datasets with annotations in COCO format."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from xai_core.plugin import DatasetSource, FileError, MissingDependencyError, OptionError, check_flag, is_folder
from xai_zoo import rle
from xai_zoo.annotated import AnnotatedImage, AnnotatedImages, Mask
from xai_zoo.paths import check_folder, check_path

_EXPECTED = "expected a COCO instances file: a JSON object with images, annotations and categories"


class Coco(DatasetSource):
    """COCO (Lin et al., 2014) from a local folder: `coco:IMAGES,annotations=instances_val2017.json`.

    A sample is an image with one of its categories, such as `000000000139#person`. The label is the index of the
    category in the order of category ids, 0 to 79. The mask is the union of all instances of the category. All
    annotations are read when the dataset is loaded. An image is decoded, and its mask is drawn, when the sample is
    accessed. Compressed masks require `pip install 'xai-zoo[coco]'`.

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
        annotated = _read(file)
        try:
            names = [category["name"] for category in _categories(annotated)]
            items = list(_items(folder, annotated, crowd))
        except MissingDependencyError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise FileError(f"{file} contains an invalid entry ({error!r}); {_EXPECTED}") from error
        if not items:
            raise FileError(f"{file} contains no annotated object; {_EXPECTED}")
        return AnnotatedImages(items, names)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise FileError(f"{file} cannot be read ({error}); {_EXPECTED}") from error
    if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
        raise FileError(f"{file} is not in COCO format; {_EXPECTED}")
    return content


def _categories(annotated: Mapping[str, Any]) -> list[Any]:
    return sorted(annotated["categories"], key=lambda category: category["id"])


def _items(folder: Path, annotated: Mapping[str, Any], crowd: bool) -> Iterator[AnnotatedImage]:
    """Yield the samples, by image in the order of the file, then by category id."""
    categories = _categories(annotated)
    instances: dict[int, dict[int, list[Any]]] = defaultdict(lambda: defaultdict(list))
    known = {category["id"] for category in categories}
    for one in annotated["annotations"]:
        if one["category_id"] not in known:
            raise ValueError(f"category {one['category_id']!r}, which is not in the list of categories")
        if crowd or not one.get("iscrowd"):
            _check(one.get("segmentation") or [])
            instances[one["image_id"]][one["category_id"]].append(one)
    for image in annotated["images"]:
        for target, category in enumerate(categories):
            if objects := instances[image["id"]][category["id"]]:
                yield AnnotatedImage(
                    path=folder / image["file_name"],
                    id=f"{PurePosixPath(image['file_name']).with_suffix('')}#{category['name']}",
                    target=target,
                    boxes=[
                        (left, top, left + across, top + down)
                        for left, top, across, down in (instance["bbox"] for instance in objects)
                    ],
                    mask=partial(_union, [one.get("segmentation") or [] for one in objects]),
                    size=(image["width"], image["height"]),
                )


def _check(segmentation: Any) -> None:
    if isinstance(segmentation, dict):
        if rle.compressed(segmentation) and find_spec("pycocotools") is None:
            raise MissingDependencyError(
                "coco: these annotations contain compressed masks; run `pip install 'xai-zoo[coco]'` to read them"
            )
    elif any(len(polygon) < 6 or len(polygon) % 2 for polygon in segmentation):
        raise ValueError("a polygon with fewer than three corners, or with an odd number of coordinates")


def _union(segmentations: Sequence[Any], height: int, width: int) -> Mask:
    """Return the union of polygons [x1, y1, x2, ...] and run-length encoded masks."""
    mask = torch.zeros(height, width, dtype=torch.bool)
    for one in segmentations:
        if isinstance(one, dict) and (size := tuple(one["size"])) != (height, width):
            return torch.zeros((), dtype=torch.bool).expand(size)  # without memory; the caller raises an error
        drawn = [rle.decode(one)] if isinstance(one, dict) else [_polygon(corners, height, width) for corners in one]
        for part in drawn:
            mask |= part
    return mask


def _polygon(corners: Sequence[float], height: int, width: int) -> Mask:
    """Return the mask of a polygon: true for each pixel whose center is inside."""
    from skimage.draw import polygon2mask

    x, y = np.array(corners).reshape(-1, 2).T
    drawn = polygon2mask((height, width), np.stack([y, x], 1) - 0.5)  # type: ignore[no-untyped-call]
    return torch.from_numpy(drawn)
