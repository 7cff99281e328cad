"""Malformed annotations of COCO and VOC: an `XAIError`, or the mask that an independent reading of the file has."""

import json
import math
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as reference

import xai_core as xai
from support.annotated_datasets import HEIGHT, WIDTH, instance, voc_object
from support.fuzzing import JUNK, changed_bytes, changed_document, examples
from xai_core.errors import XAIError

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools

TRIANGLE, SQUARE = [5.0, 5.0, 25.0, 5.0, 5.0, 25.0], [10.0, 10.0, 20.0, 10.0, 20.0, 16.0, 10.0, 16.0]
RUNS = {"counts": [63, 4, 26, 4, 1103], "size": [HEIGHT, WIDTH]}
PACKED = {"size": [HEIGHT, WIDTH], "counts": reference.frPyObjects(RUNS, HEIGHT, WIDTH)["counts"].decode()}
COCO = {
    "images": [
        {"id": 285, "file_name": "000000000285.jpg", "width": WIDTH, "height": HEIGHT},
        {"id": 139, "file_name": "000000000139.jpg", "width": WIDTH, "height": HEIGHT},
    ],
    "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}],
    "annotations": [
        instance(139, 90, [TRIANGLE, SQUARE], [5, 5, 20, 20]),
        instance(139, 90, [], [0, 0, 4, 3]),
        instance(285, 1, RUNS, [2, 3, 2, 4], crowd=1),
        instance(285, 1, PACKED, [2, 3, 2, 4]),
    ],
}
ROWS, COLUMNS = np.meshgrid(np.arange(HEIGHT) + 0.5, np.arange(WIDTH) + 0.5, indexing="ij")


def samples(spec: str) -> list[xai.Sample]:
    """Read all samples that can be read. Errors other than `XAIError` pass through."""
    read = []
    try:
        data = xai.load_dataset(spec)
    except XAIError:
        return []
    for index in range(len(data)):
        try:
            read.append(data[index])
        except XAIError:
            continue
    assert len({sample.id for sample in read}) == len(read)
    return read


def filled(box: tuple[float, float, float, float]) -> np.ndarray:
    """Return the pixels that share more than a border with a box, pixel by pixel."""
    left, top, right, bottom = math.floor(box[0]), math.floor(box[1]), math.ceil(box[2]), math.ceil(box[3])
    return (left < COLUMNS) & (right > COLUMNS) & (top < ROWS) & (bottom > ROWS)


def polygon(corners: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels whose center is inside by the even-odd rule, and those that are too close to an edge."""
    inside, close = np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)
    points = np.array(corners, float).reshape(-1, 2)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0), strict=True):
        length = math.hypot(x1 - x0, y1 - y0)
        share = ((COLUMNS - x0) * (x1 - x0) + (ROWS - y0) * (y1 - y0)) / max(length**2, 1e-9)
        share = share.clip(0, 1)
        close |= np.hypot(COLUMNS - x0 - share * (x1 - x0), ROWS - y0 - share * (y1 - y0)) < 1e-3 + 1e-6 * length
        if y0 != y1:
            crossing = x0 + (ROWS - y0) / (y1 - y0) * (x1 - x0)
            inside ^= ((y0 > ROWS) != (y1 > ROWS)) & (crossing > COLUMNS)
    return inside, close


def object_mask(one: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the mask of an annotation, and the pixels that cannot be decided."""
    segmentation = one.get("segmentation") or []
    mask, close = np.zeros((HEIGHT, WIDTH), bool), np.zeros((HEIGHT, WIDTH), bool)
    if isinstance(segmentation, dict):
        runs = segmentation
        if isinstance(runs["counts"], list):
            runs = reference.frPyObjects(runs, HEIGHT, WIDTH)
        mask = reference.decode(runs).astype(bool)
    else:
        for corners in segmentation:
            inside, near = polygon(corners)
            mask, close = mask | inside, close | near
    if mask.any():
        return mask, close
    left, top, width, height = one["bbox"]
    return filled((left, top, left + width, top + height)), close


def require_masks_of_coco(document: dict[str, Any], read: list[xai.Sample]) -> None:
    """Require the masks of the samples, by target and by image. Objects of other samples can be damaged."""
    categories = sorted(document["categories"], key=lambda category: category["id"])
    files = {image["id"]: image["file_name"] for image in document["images"]}
    objects: dict[tuple[str, int], list[dict[str, Any]]] = defaultdict(list)
    for one in document["annotations"]:
        if not one.get("iscrowd") and one["image_id"] in files:
            target = [category["id"] for category in categories].index(one["category_id"])
            objects[str(Path(files[one["image_id"]]).with_suffix("")), target].append(one)
    for sample in read:
        assert sample.mask is not None
        assert sample.target is not None
        name = sample.id.partition("#")[0]
        name = name if (name, sample.target) in objects else str(Path(name).with_suffix(""))
        masks = [object_mask(one) for one in objects[name, sample.target]]
        mask = np.any([mask for mask, _ in masks], 0)
        decided = ~np.any([close for _, close in masks], 0)
        assert np.array_equal(sample.mask.numpy()[decided], mask[decided])
        assert mask.any()


@given(document=changed_document(COCO, (*JUNK, "53", "0o", "[U1", 5.25, 12, WIDTH, HEIGHT, WIDTH * HEIGHT)))
@examples()
def test_fuzzed_entries_of_coco(document: Any, coco: Callable[..., str], tmp_path: Path) -> None:
    spec = coco()
    (tmp_path / "instances.json").write_text(json.dumps(document))
    if read := samples(spec):
        require_masks_of_coco(document, read)


@given(content=changed_bytes(json.dumps(COCO).encode()))
@examples()
def test_fuzzed_bytes_of_coco(content: bytes, coco: Callable[..., str], tmp_path: Path) -> None:
    spec = coco()
    (tmp_path / "instances.json").write_bytes(content)
    if read := samples(spec):
        require_masks_of_coco(json.loads(content), read)


@given(counts=st.text(st.characters(min_codepoint=46, max_codepoint=113), max_size=12))
@examples()
def test_fuzzed_runs_of_coco(counts: str, coco: Callable[..., str]) -> None:
    document = {**COCO, "annotations": [instance(139, 1, {**RUNS, "counts": counts}, [2, 3, 2, 4])]}
    if read := samples(coco(*document["annotations"], categories=COCO["categories"])):
        require_masks_of_coco(document, read)


VOC = (
    f"<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size>"
    f"{voc_object('dog', '1 1 10 5')}{voc_object('dog', '21.5 11 40 30', '1')}{voc_object('bird', '3 2 4 3')}"
    "</annotation>"
)


SIDES = ("xmin", "ymin", "xmax", "ymax")


def require_masks_of_voc(content: bytes | str, read: list[xai.Sample]) -> None:
    boxes = defaultdict(list)
    for element in ElementTree.fromstring(content).findall("object"):
        left, top, right, bottom = (
            float(element.findtext(f"bndbox/{s}", "")) for s in ("xmin", "ymin", "xmax", "ymax")
        )
        boxes[element.findtext("name", "").strip()].append(filled((left - 1, top - 1, right, bottom)))
    for sample in read:
        assert sample.mask is not None
        mask = np.any(boxes[sample.id.partition("#")[2]], 0)
        assert np.array_equal(sample.mask.numpy(), mask)
        assert mask.any()


@given(content=changed_bytes(VOC.encode()))
@examples()
def test_fuzzed_bytes_of_voc(content: bytes, voc: Path) -> None:
    (voc / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main" / "val.txt").write_text("a")
    (voc / "VOCdevkit" / "VOC2012" / "Annotations" / "a.xml").write_bytes(content)
    if read := samples(f"voc:{voc}"):
        require_masks_of_voc(content, read)


VALUES = ("", " ", "x", "nan", "inf", "-inf", "-5", "0", "0.5", "1e9", "1e400", "40", "30", "99", "1_0")


@given(data=st.data())
@examples()
def test_fuzzed_values_of_voc(data: st.DataObject, voc: Path) -> None:
    root = ElementTree.fromstring(VOC)
    elements = [
        element for element in root.iter() if element.tag[:4] in ("xmin", "ymax", "xmax", "widt", "name", "size")
    ]
    for _ in range(data.draw(st.integers(1, 3))):
        data.draw(st.sampled_from(elements)).text = data.draw(st.sampled_from(VALUES))
    content = ElementTree.tostring(root, "unicode")
    (voc / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main" / "val.txt").write_text("a")
    (voc / "VOCdevkit" / "VOC2012" / "Annotations" / "a.xml").write_text(content)
    if read := samples(f"voc:{voc}"):
        require_masks_of_voc(content, read)


@given(data=st.data(), name=st.sampled_from(["ImageSets/Main/train.txt", "SegmentationClass/b.png"]))
@examples()
def test_fuzzed_other_files_of_voc(data: st.DataObject, name: str, voc: Path) -> None:
    file = voc / "VOCdevkit" / "VOC2012" / name
    valid = file.with_name(f"{file.name}.valid")
    if not valid.exists():
        file.rename(valid)
    file.write_bytes(data.draw(changed_bytes(valid.read_bytes())))
    for sample in samples(f"voc:{voc},split=train"):
        assert sample.mask is not None
        assert isinstance(sample.image, Image.Image)
        assert tuple(sample.mask.shape) == (sample.image.height, sample.image.width)
        assert sample.mask.any()
    valid.rename(file)
