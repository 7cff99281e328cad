"""Reads and checks instances files in COCO format."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from xai_core.plugin import FileError, is_openable
from xai_zoo.annotated import Box

Id = int | str
Segmentation = Mapping[str, Any] | Sequence[Sequence[float]]
"""A run-length encoded mask, or polygons [x1, y1, x2, ...]. No polygons: the object has only a box."""
Entry = TypeVar("Entry")
EXPECTED = "expected a COCO instances file: a JSON object with images, annotations and categories"
_LARGEST = 2**31


class CocoImage(NamedTuple):
    """An image file."""

    id: Id
    file_name: str
    width: int
    height: int


class CocoCategory(NamedTuple):
    """A class of objects."""

    id: Id
    name: str


class CocoObject(NamedTuple):
    """An annotated object, or a crowd of them. The box is (left, top, right, bottom)."""

    image: Id
    category: Id
    box: Box
    segmentation: Segmentation
    is_crowd: bool


class CocoFile(NamedTuple):
    """The content of an instances file. Categories are in the order of their ids."""

    images: Sequence[CocoImage]
    categories: Sequence[CocoCategory]
    objects: Sequence[CocoObject]


def read_coco(file: Path) -> CocoFile:
    """Read an instances file.

    Raises
    ------
    FileError
        If the file cannot be read, or an entry is invalid. The message contains the position of the entry.
    """
    content = _json(file)
    if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
        raise FileError(f"{file} is not in COCO format; {EXPECTED}")
    try:
        categories = sorted(_entries(content, "categories", _category), key=lambda category: category.id)
        images = _entries(content, "images", _image)
        _require_unique("categories", categories)
        _require_unique("images", images)
        read = CocoFile(images, categories, _entries(content, "annotations", _object))
        _require_known(read)
    except (ValueError, TypeError) as error:
        raise FileError(f"{file} contains an invalid entry ({error}); {EXPECTED}") from error
    return read


def _json(file: Path) -> Any:
    if not is_openable(file):
        raise FileError(f"{file} cannot be read (it is a pipe, socket or device); {EXPECTED}")
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise FileError(f"{file} cannot be read ({error}); {EXPECTED}") from error


def _entries(content: Mapping[str, Any], name: str, read: Callable[[Mapping[str, Any]], Entry]) -> list[Entry]:
    _require(isinstance(content[name], list), f"{name} must be a list", content[name])
    entries = []
    for index, entry in enumerate(content[name]):
        try:
            _require(isinstance(entry, dict), "it must be an object", entry)
            entries.append(read(entry))
        except KeyError as error:
            raise ValueError(f"{name}[{index}] has no {error}") from error
        except ValueError as error:
            raise ValueError(f"{name}[{index}]: {error}") from error
    return entries


def _image(entry: Mapping[str, Any]) -> CocoImage:
    name, width, height = entry["file_name"], entry["width"], entry["height"]
    _require(isinstance(name, str) and Path(name).name, "file_name must be the name of a file", name)
    for side in (width, height):
        _require(_is_integer(side) and 0 < side < _LARGEST, "width and height must be positive integers", side)
    return CocoImage(_id(entry, "id"), name, width, height)


def _category(entry: Mapping[str, Any]) -> CocoCategory:
    _require(isinstance(entry["name"], str), "name must be a string", entry["name"])
    return CocoCategory(_id(entry, "id"), entry["name"])


def _object(entry: Mapping[str, Any]) -> CocoObject:
    is_crowd = entry.get("iscrowd", 0)
    _require(is_crowd in (0, 1, None), "iscrowd must be 0 or 1", is_crowd)
    box = entry["bbox"]
    _require(_are_coordinates(box) and len(box) == 4, "bbox must be four numbers", box)
    left, top, width, height = box
    _require(width >= 0 and height >= 0, "bbox must be [left, top, width, height] with positive lengths", box)
    segmentation = _segmentation(entry.get("segmentation") or [])
    image, category = _id(entry, "image_id"), _id(entry, "category_id")
    return CocoObject(image, category, (left, top, left + width, top + height), segmentation, bool(is_crowd))


def _segmentation(value: Any) -> Segmentation:
    if isinstance(value, dict):
        counts, size = value["counts"], value["size"]
        runs = isinstance(counts, str) or (isinstance(counts, list) and all(map(_is_integer, counts)))
        _require(runs, "the counts of a mask must be a string or a list of integers", counts)
        _require(_are_coordinates(size) and all(map(_is_integer, size)), "the size of a mask must be integers", size)
        return value
    _require(isinstance(value, list), "segmentation must be polygons or a mask", value)
    for polygon in value:
        _require(_are_coordinates(polygon), "a polygon must be a list of numbers", polygon)
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError("a polygon with fewer than three corners, or with an odd number of coordinates")
    return value


def _require_unique(name: str, entries: Iterable[CocoImage | CocoCategory]) -> None:
    ids = set()
    for entry in entries:
        if entry.id in ids:
            raise ValueError(f"two {name} have the id {entry.id!r}")
        ids.add(entry.id)


def _require_known(file: CocoFile) -> None:
    """Require that objects have a known category, and masks of the size of their image."""
    categories = {category.id for category in file.categories}
    sizes = {image.id: [image.height, image.width] for image in file.images}
    for index, one in enumerate(file.objects):
        if one.category not in categories:
            raise ValueError(
                f"annotations[{index}] has the category {one.category!r}, which is not in the list of categories"
            )
        size = one.segmentation["size"] if isinstance(one.segmentation, Mapping) else None
        if size is not None and one.image in sizes and size != sizes[one.image]:
            raise ValueError(f"annotations[{index}]: a mask of {size}; expected {sizes[one.image]}")


def _id(entry: Mapping[str, Any], name: str) -> Id:
    value: Id = entry[name]
    _require(isinstance(value, str) or _is_integer(value), f"{name} must be an integer or a string", value)
    return value


def _require(condition: object, expected: str, value: object) -> None:
    if not condition:
        shown = repr(value)
        raise ValueError(f"{expected}, got {shown if len(shown) <= 60 else shown[:57] + '...'}")


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _are_coordinates(values: object) -> bool:
    return isinstance(values, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST for value in values
    )
