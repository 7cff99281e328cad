"""PASCAL VOC and COCO, from small trees: boxes and masks of each class in each image."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as reference
from torch import Tensor

import xai_core as xai
from support.annotated_datasets import HEIGHT, WIDTH, instance, picture, voc_object
from xai_core.data import images
from xai_core.errors import FileError, ImageFileError, OptionError
from xai_zoo import rle

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of pycocotools


def rectangle(left: int, top: int, right: int, bottom: int) -> Tensor:
    mask = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


# PASCAL VOC


def test_voc_gives_a_sample_for_each_class_in_an_image(voc: Path) -> None:
    data = xai.load_dataset(f"voc:{voc}")
    assert [(sample.id, sample.target) for sample in data] == [
        ("a#bird", 2),
        ("a#dog", 11),
        ("b#cat", 7),
        ("b#person", 14),
        ("b#sofa", 17),
    ]
    assert data.ids[1] == "a#dog"  # type: ignore[attr-defined]
    names = data.class_names  # type: ignore[attr-defined]
    assert (len(names), names[11], names[19]) == (20, "dog", "tvmonitor")
    assert data[1].image.size == (WIDTH, HEIGHT)  # type: ignore[union-attr]
    assert [sample.id for sample in xai.load_dataset(f"voc:{voc},split=train")] == ["b#cat", "b#person", "b#sofa"]


def test_voc_counts_pixels_from_one_and_fills_boxes(voc: Path) -> None:
    bird, dog = (xai.load_dataset(f"voc:{voc}")[i] for i in range(2))
    assert dog.boxes is not None
    assert torch.equal(dog.boxes, torch.tensor([[0.0, 0, 10, 5], [20, 10, 40, 30]]))
    assert dog.mask is not None
    assert torch.equal(dog.mask, rectangle(0, 0, 10, 5) | rectangle(20, 10, 40, 30))
    assert bird.boxes is not None
    assert torch.equal(bird.boxes, torch.tensor([[2.5, 1, 4.5, 3]]))


def test_voc_takes_the_segmentation_where_there_is_one(voc: Path) -> None:
    cat, person = (xai.load_dataset(f"voc:{voc},split=train")[i] for i in range(2))
    assert cat.mask is not None
    assert torch.equal(cat.mask, rectangle(3, 2, 7, 9) | rectangle(30, 20, 35, 25))
    assert person.mask is not None
    assert torch.equal(person.mask, rectangle(4, 4, 6, 6)), "the segmentation has none of it"


def test_voc_leaves_difficult_objects_out_where_asked(voc: Path) -> None:
    data = xai.load_dataset(f"voc:{voc},difficult=false")
    assert [sample.id for sample in data] == ["a#bird", "a#dog", "b#cat", "b#person"]
    assert data[1].boxes is not None
    assert torch.equal(data[1].boxes, torch.tensor([[0.0, 0, 10, 5]]))


def test_voc_is_found_from_each_of_its_folders(voc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(voc))
    monkeypatch.setenv("USERPROFILE", str(voc))
    assert len(xai.load_dataset("voc:~/VOCdevkit")) == 5
    for folder in (voc, voc / "VOCdevkit", voc / "VOCdevkit" / "VOC2012"):
        assert len(xai.load_dataset("voc", path=folder)) == 5


def test_a_voc_that_is_not_there_is_refused(voc: Path) -> None:
    with pytest.raises(OptionError, match="voc:FOLDER"):
        xai.load_dataset("voc")
    with pytest.raises(FileError, match=r"does not contain PASCAL VOC 2007; expected `VOCdevkit/VOC2007` in it"):
        xai.load_dataset(f"voc:{voc},year=2007")
    with pytest.raises(FileError, match=r"test\.txt cannot be read \(No such file.*existing splits: train, val"):
        xai.load_dataset(f"voc:{voc},split=test")
    for option, reason in (("year=2010", "2007, 2012"), ("split=all", "train, val"), ("difficult=3", "true or false")):
        with pytest.raises(OptionError, match=reason):
            xai.load_dataset(f"voc:{voc},{option}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("<annotation>", r"a\.xml cannot be read as a PASCAL VOC annotation"),
        (
            f"<annotation>{voc_object('dog', '1 1 x 5')}</annotation>",
            r"a\.xml cannot be read as a PASCAL VOC annotation",
        ),
        (
            "<annotation><object><name>dog</name></object></annotation>",
            r"a\.xml cannot be read as a PASCAL VOC annotation",
        ),
        (
            f"<annotation>{voc_object('wolf', '1 1 2 5')}</annotation>",
            r"contains the class 'wolf'; expected the classes",
        ),
        (f"<annotation>{voc_object('dog', '1 1 nan 5')}</annotation>", r"a box from \(1, 1\) to \(nan, 5\)"),
        (f"<annotation>{voc_object('dog', '1 9 5 5')}</annotation>", r"a box from \(1, 9\) to \(5, 5\)"),
        ("<annotation><size><width>4</width><height>x</height></size></annotation>", "invalid literal"),
        ('<?xml version="1.0" encoding="none"?><annotation/>', r"a\.xml cannot be read as a PASCAL VOC annotation"),
        (None, r"a\.xml cannot be read .*No such file"),
    ],
)
def test_a_voc_annotation_that_cannot_be_read_is_named(content: str | None, reason: str, voc: Path) -> None:
    file = voc / "VOCdevkit" / "VOC2012" / "Annotations" / "a.xml"
    file.unlink() if content is None else file.write_text(content)
    with pytest.raises(FileError, match=reason):
        xai.load_dataset(f"voc:{voc}")


def test_a_voc_annotation_of_another_size_is_refused(voc: Path) -> None:
    root = voc / "VOCdevkit" / "VOC2012"
    size = f"<size><width>{HEIGHT}</width><height>{WIDTH}</height></size>"
    (root / "Annotations" / "a.xml").write_text(f"<annotation>{size}{voc_object('dog', '1 1 5 5')}</annotation>")
    with pytest.raises(ImageFileError, match=r"a\.jpg has 40x30 pixels, but its annotation is for 30x40 pixels"):
        xai.load_dataset(f"voc:{voc}")[0]


def test_a_voc_split_lists_each_image_once(voc: Path) -> None:
    split = voc / "VOCdevkit" / "VOC2012" / "ImageSets" / "Main" / "val.txt"
    split.write_text("a\nb\na\n")
    assert len(xai.load_dataset(f"voc:{voc}")) == 5
    split.write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match=r"val\.txt cannot be read \(.*can't decode"):
        xai.load_dataset(f"voc:{voc}")


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in folders")
@pytest.mark.parametrize("name", ["Annotations/a.xml", "ImageSets/Main/val.txt"])
def test_a_pipe_in_place_of_an_annotation_is_refused(name: str, voc: Path) -> None:
    file = voc / "VOCdevkit" / "VOC2012" / name
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(FileError, match=rf"{file.name} cannot be read .*pipe, socket or device"):
        xai.load_dataset(f"voc:{voc}")


def test_a_segmentation_that_cannot_be_read_is_named(voc: Path) -> None:
    file = voc / "VOCdevkit" / "VOC2012" / "SegmentationClass" / "b.png"
    data = xai.load_dataset(f"voc:{voc},split=train")
    Image.new("RGB", (WIDTH, HEIGHT)).save(file)
    with pytest.raises(ImageFileError, match=r"b\.png has mode RGB; expected a segmentation image with a palette"):
        data[0]
    Image.new("P", (WIDTH, HEIGHT + 1)).save(file)
    with pytest.raises(ImageFileError, match=r"b\.jpg has 40x30 pixels, but its annotation is for 40x31 pixels"):
        data[0]
    file.write_bytes(b"no")
    with pytest.raises(ImageFileError, match=r"b\.png cannot be read as a segmentation"):
        data[0]
    Image.new("P", (8, 8)).save(file, "GIF")  # only PNG files are read, whatever the extension
    with pytest.raises(ImageFileError, match=r"b\.png cannot be read as a segmentation"):
        data[0]
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(ImageFileError, match=r"b\.png is a pipe, socket or device; expected a segmentation"):
        data[0]


# What holds of both


@pytest.mark.parametrize("orientation", [2, 3, 6])
def test_an_image_that_is_stored_turned_is_refused(orientation: int, voc: Path) -> None:
    picture(voc / "VOCdevkit" / "VOC2012" / "JPEGImages" / "a.jpg", orientation=orientation)
    data = xai.load_dataset(f"voc:{voc}")
    with pytest.raises(ImageFileError, match=r"a\.jpg has an EXIF rotation, .*; save the image upright"):
        data[0]
    assert data[2].id == "b#cat"


def test_boxes_and_masks_become_smaller_with_a_large_image(voc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "LONGEST", 20)
    dog, cat = (xai.load_dataset(f"voc:{voc}")[i] for i in (1, 2))
    assert dog.image.size == (20, 15)  # type: ignore[union-attr]
    assert dog.boxes is not None
    assert torch.equal(dog.boxes, torch.tensor([[0.0, 0, 5, 2.5], [10, 5, 20, 15]]))
    assert cat.mask is not None
    assert (cat.mask.shape, cat.mask.dtype) == ((15, 20), torch.bool)
    assert torch.equal(cat.mask[10:12, 15:17], torch.ones(2, 2, dtype=torch.bool))
    assert not cat.mask[:, 18:].any()


# COCO


TRIANGLE = [5.0, 5.0, 25.0, 5.0, 5.0, 25.0]
SQUARE = [10.0, 10.0, 20.0, 10.0, 20.0, 16.0, 10.0, 16.0]
RUNS = {"counts": [HEIGHT * 2 + 3, 4, HEIGHT - 4, 4, HEIGHT * (WIDTH - 3) - 7], "size": [HEIGHT, WIDTH]}


def test_coco_gives_a_sample_for_each_category_in_an_image(coco: Callable[..., str]) -> None:
    data = xai.load_dataset(
        coco(
            instance(139, 90, [TRIANGLE], [5, 5, 20, 20]),
            instance(139, 1, [SQUARE], [10, 10, 10, 6]),
            instance(285, 13, [SQUARE], [10, 10, 10, 6]),
            instance(139, 1, [[0, 0, 2, 0, 2, 2, 0, 2], [30, 20, 33, 20, 33, 22, 30, 22]], [0, 0, 33, 22]),
            instance(285, 90, RUNS, [2, 3, 2, 4], crowd=1),
        )
    )
    assert [(sample.id, sample.target) for sample in data] == [
        ("000000000285#stop", 1),
        ("000000000139#person", 0),
        ("000000000139#toothbrush", 2),
    ]
    assert data.class_names == ["person", "stop", "toothbrush"]  # type: ignore[attr-defined]
    person = data[1]
    assert person.boxes is not None
    assert torch.equal(person.boxes, torch.tensor([[10.0, 10, 20, 16], [0, 0, 33, 22]]))
    assert person.mask is not None
    expected = rectangle(10, 10, 20, 16) | rectangle(0, 0, 2, 2) | rectangle(30, 20, 33, 22)
    assert torch.equal(person.mask, expected)


def test_coco_polygons_hold_the_pixels_whose_centre_is_inside(coco: Callable[..., str]) -> None:
    shifted = [value + 0.2 for value in TRIANGLE]
    sample = xai.load_dataset(coco(instance(139, 1, [shifted], [5, 5, 20, 20])))[0]
    rows, columns = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    assert sample.mask is not None
    assert torch.equal(sample.mask, (rows > 5.2) & (columns > 5.2) & (rows + columns < 30.4))
    theirs = reference.decode(reference.frPyObjects([shifted], HEIGHT, WIDTH))[..., 0].astype(bool)
    both, either = (sample.mask.numpy() & theirs).sum(), (sample.mask.numpy() | theirs).sum()
    assert both / either > 0.85, "the reference rounds the border outwards"


def test_coco_runs_are_decoded_as_the_reference_does(coco: Callable[..., str]) -> None:
    random = np.random.default_rng(0)
    for start in (0, 5):
        counts = [start, *random.integers(1, 40, 20).tolist()]
        counts.append(HEIGHT * WIDTH - sum(counts))
        runs = {"counts": counts, "size": [HEIGHT, WIDTH]}
        theirs = reference.decode(reference.frPyObjects(runs, HEIGHT, WIDTH)).astype(bool)
        assert np.array_equal(rle.decode(runs).numpy(), theirs)
    sample = xai.load_dataset(coco(instance(139, 1, RUNS, [2, 3, 2, 4], crowd=1), more=",crowd=true"))[0]
    assert sample.mask is not None
    assert torch.equal(sample.mask, rectangle(2, 3, 4, 7))


def packed(mask: Tensor) -> dict[str, Any]:
    """The mask as pycocotools compresses it."""
    runs = reference.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
    return {"size": runs["size"], "counts": runs["counts"].decode()}


def test_coco_compressed_runs_are_decoded_as_the_reference_does(coco: Callable[..., str]) -> None:
    sample = xai.load_dataset(coco(instance(139, 1, packed(rectangle(2, 3, 9, 7)), [2, 3, 7, 4])))[0]
    assert sample.mask is not None
    assert torch.equal(sample.mask, rectangle(2, 3, 9, 7))
    random = torch.Generator().manual_seed(0)
    for size, share in (((30, 40), 0.5), ((1, 1), 0.5), ((700, 900), 0.001), ((2, 40_000), 0.0), ((3, 7), 1.0)):
        mask = torch.rand(size, generator=random) < share
        assert torch.equal(rle.decode(packed(mask)), mask)


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ("", "add up to 0 pixels; expected 1200"),
        ("53", "add up to 8 pixels; expected 1200"),  # 5 and 3
        ("0o", "end within a number"),
        ("a\x00b", r"contain '\\x00'"),
        ("p", "contain 'p'"),
        ([3, 4], "add up to 7 pixels; expected 1200"),
        ([1300, -100], "add up to 1200 pixels"),
    ],
)
def test_coco_damaged_runs_are_no_mask(counts: Any, reason: str, coco: Callable[..., str]) -> None:
    data = xai.load_dataset(coco(instance(139, 1, {"counts": counts, "size": [HEIGHT, WIDTH]}, [2, 3, 7, 4])))
    with pytest.raises(ImageFileError, match=rf"000000000139#person of .*139\.jpg has a damaged mask.*{reason}"):
        data[0]


def test_each_cut_of_compressed_runs_is_noticed() -> None:
    mask = torch.rand(30, 40, generator=torch.Generator().manual_seed(0)) < 0.3
    whole = packed(mask)
    for end in range(len(whole["counts"])):
        with pytest.raises(ValueError, match="its "):
            rle.decode({**whole, "counts": whole["counts"][:end]})


def test_coco_fills_boxes_where_nothing_is_drawn(coco: Callable[..., str]) -> None:
    unmarked = instance(139, 90, None, [2.5, 3, 7, 4])
    del unmarked["segmentation"]
    for sample in xai.load_dataset(coco(instance(139, 1, [], [2.5, 3, 7, 4]), unmarked)):
        assert sample.mask is not None
        assert torch.equal(sample.mask, rectangle(2, 3, 10, 7))


def test_coco_fills_the_box_of_an_object_without_a_polygon_beside_another_with_one(coco: Callable[..., str]) -> None:
    thin = [30.1, 20.1, 30.2, 20.1, 30.2, 20.2]  # no center of a pixel
    data = xai.load_dataset(
        coco(
            instance(139, 1, [SQUARE], [10, 10, 10, 6]),
            instance(139, 1, [], [0, 0, 3, 2]),
            instance(139, 1, [thin], [30.1, 20.1, 0.1, 0.1]),
        )
    )
    assert data[0].mask is not None
    expected = rectangle(10, 10, 20, 16) | rectangle(0, 0, 3, 2) | rectangle(30, 20, 31, 21)
    assert torch.equal(data[0].mask, expected)


def test_coco_ids_are_unique(coco: Callable[..., str], tmp_path: Path) -> None:
    names = ["1.jpg", "1.png", "a/2.jpg", "2.jpg"]
    images_ = [{"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in enumerate(names)]
    categories = [{"id": 7, "name": "cat"}, {"id": 8, "name": "cat"}, {"id": 9, "name": "dog"}]
    found = [instance(image, category, [SQUARE], [10, 10, 10, 6]) for image in range(4) for category in (7, 9)]
    data = xai.load_dataset(coco(*found, images=images_, categories=categories))
    assert data.ids == [  # type: ignore[attr-defined]
        *("1.jpg#cat@7", "1.jpg#dog", "1.png#cat@7", "1.png#dog", "a/2#cat@7", "a/2#dog", "2#cat@7", "2#dog")
    ]


def test_a_coco_that_is_not_there_is_refused(coco: Callable[..., str], tmp_path: Path) -> None:
    spec = coco(instance(139, 1, [SQUARE], [2, 3, 7, 4]))
    with pytest.raises(OptionError, match="coco:IMAGES,annotations=FILE"):
        xai.load_dataset("coco")
    with pytest.raises(OptionError, match=r"annotations=instances_val2017\.json"):
        xai.load_dataset(f"coco:{tmp_path}")
    with pytest.raises(OptionError, match="true or false"):
        xai.load_dataset(f"{spec},crowd=2")
    with pytest.raises(OptionError, match=r"expected one folder, got two: .* and path="):
        xai.load_dataset(spec, path=tmp_path)
    with pytest.raises(OptionError, match=r"annotations must be a path, got 2017; .*annotations=\"2017\" in quotes"):
        xai.load_dataset(f"coco:{tmp_path},annotations=2017")
    with pytest.raises(FileError, match=r"none is not a folder; expected the folder of COCO's images"):
        xai.load_dataset(spec.replace("val2017", "none"))
    with pytest.raises(FileError, match=r"none\.json cannot be read.*expected a COCO instances file"):
        xai.load_dataset(spec.replace("instances.json", "none.json"))
    (tmp_path / "instances.json").write_text("[1")
    with pytest.raises(FileError, match=r"instances\.json cannot be read"):
        xai.load_dataset(spec)
    (tmp_path / "instances.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(FileError, match="is not in COCO format; expected a COCO instances file"):
        xai.load_dataset(spec)


@pytest.mark.parametrize(
    ("annotation", "reason"),
    [
        ({"image_id": 1}, r"contains an invalid entry \(annotations\[0\] has no 'bbox'\)"),
        (instance(139, 1, [[1, 2, 3, 4]], [2, 3, 7, 4]), "fewer than three corners"),
        (instance(139, 1, [SQUARE], [2, 3, 7]), r"annotations\[0\]: bbox must be four numbers, got \[2, 3, 7\]"),
        (instance(139, 1, [SQUARE], [2, 3, -7, 4]), "with positive lengths"),
        (instance(139, 1, [], [2, 3, float("nan"), 4]), "bbox must be four numbers"),
        (instance(139, 1, ["123456"], [2, 3, 7, 4]), "a polygon must be a list of numbers, got '123456'"),
        (instance(139, 1, {"counts": "1"}, [2, 3, 7, 4]), r"annotations\[0\] has no 'size'"),
        (instance(139, 1, {"counts": [1.5], "size": [30, 40]}, [2, 3, 7, 4]), "a string or a list of integers"),
        (instance(139, 1, {**RUNS, "size": [WIDTH, HEIGHT]}, [2, 3, 7, 4]), r"mask of \[40, 30\]; expected \[30, 40\]"),
        (instance(139, 1, [SQUARE], [2, 3, 7, 4], crowd="no"), "iscrowd must be 0 or 1, got 'no'"),  # type: ignore[arg-type]
        (instance(139, 1, [SQUARE], [2, 3, 7, 4], crowd=1), "contains no annotated object"),
        (instance(139, 2, [SQUARE], [2, 3, 7, 4]), "category 2, which is not in the list of categories"),
    ],
)
def test_coco_annotations_that_cannot_be_read_are_refused(
    annotation: dict[str, Any], reason: str, coco: Callable[..., str]
) -> None:
    with pytest.raises(FileError, match=reason):
        xai.load_dataset(coco(annotation))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"images": 3}, "images must be a list, got 3"),
        ({"images": [3]}, r"images\[0\]: it must be an object, got 3"),
        ({"images": [{"id": 139, "file_name": "", "width": 4, "height": 4}]}, "file_name must be the name of a file"),
        ({"images": [{"id": 139, "file_name": "a", "width": "4", "height": 4}]}, "must be positive integers, got '4'"),
        ({"images": [{"id": 1, "file_name": f"{i}.jpg", "width": 4, "height": 4} for i in (1, 2)]}, "two images have"),
        ({"categories": [{"id": 1, "name": "cat"}, {"id": 1, "name": "dog"}]}, "two categories have the id 1"),
        ({"categories": [{"id": 1, "name": 5}]}, r"categories\[0\]: name must be a string, got 5"),
        ({"categories": [{"id": [], "name": "cat"}]}, "id must be an integer or a string"),
    ],
)
def test_coco_lists_that_cannot_be_read_are_refused(
    changes: dict[str, Any], reason: str, coco: Callable[..., str]
) -> None:
    with pytest.raises(FileError, match=rf"instances\.json contains an invalid entry .*{reason}"):
        xai.load_dataset(coco(instance(139, 1, [SQUARE], [2, 3, 7, 4]), **changes))


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in folders")
def test_coco_annotations_that_are_no_file_are_refused(coco: Callable[..., str], tmp_path: Path) -> None:
    spec = coco(instance(139, 1, [SQUARE], [2, 3, 7, 4]))
    (tmp_path / "instances.json").write_text("[" * 100_000)
    with pytest.raises(FileError, match=r"instances\.json cannot be read \(.*recursion"):
        xai.load_dataset(spec)
    (tmp_path / "instances.json").unlink()
    os.mkfifo(tmp_path / "instances.json")
    with pytest.raises(FileError, match=r"instances\.json cannot be read .*pipe, socket or device"):
        xai.load_dataset(spec)


@pytest.mark.parametrize("box", [[WIDTH, 0, 3, 3], [0, HEIGHT + 1, 3, 3], [-9, -9, 9, 9], [4, 4, 0, 3]])
def test_a_box_that_contains_no_pixel_is_refused(box: list[float], coco: Callable[..., str]) -> None:
    data = xai.load_dataset(coco(instance(139, 1, [SQUARE], [10, 10, 10, 6]), instance(139, 1, [], box)))
    with pytest.raises(ImageFileError, match=r"000000000139#person of .*139\.jpg has a box outside of the image"):
        data[0]


def test_coco_images_of_another_size_are_refused(coco: Callable[..., str]) -> None:
    images_ = [{"id": 139, "file_name": "000000000139.jpg", "width": HEIGHT, "height": WIDTH}]
    data = xai.load_dataset(coco(instance(139, 1, [SQUARE], [2, 3, 7, 4]), images=images_))
    with pytest.raises(ImageFileError, match=r"139\.jpg has 40x30 pixels, but its annotation is for 30x40 pixels"):
        data[0]


def test_annotated_data_travels_to_other_processes(coco: Callable[..., str], voc: Path) -> None:
    import pickle

    for spec in (coco(instance(139, 1, [SQUARE], [2, 3, 7, 4])), f"voc:{voc}"):
        data = xai.load_dataset(spec)
        there = pickle.loads(pickle.dumps(data))
        assert torch.equal(there[0].mask, data[0].mask)
