"""Fixtures: small trees of files in the formats of PASCAL VOC, COCO, ImageNet, Hugging Face and CIFAR-10."""

import io
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

HEIGHT, WIDTH = 30, 40


def picture(path: Path, size: tuple[int, int] = (WIDTH, HEIGHT), orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(path, exif=exif)


def voc_object(name: str, box: str, difficult: str = "0") -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box.split(), strict=True)
    inner = "".join(f"<{side}>{value}</{side}>" for side, value in sides)
    part = f"<part><name>head</name><bndbox>{inner}</bndbox></part>"
    return f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>{inner}</bndbox>{part}</object>"


@pytest.fixture
def voc(tmp_path: Path) -> Path:
    """Two images; the second has a segmentation."""
    root = tmp_path / "VOCdevkit" / "VOC2012"
    objects = {
        "a": [voc_object("dog", "1 1 10 5"), voc_object("dog", "21 11 40 30", "1"), voc_object("bird", "3.5 2 4.5 3")],
        "b": [voc_object("cat", "1 1 40 30"), voc_object("person", "5 5 6 6"), voc_object("sofa", "1 1 2 2", "1")],
    }
    for name, found in objects.items():
        picture(root / "JPEGImages" / f"{name}.jpg")
        (root / "Annotations").mkdir(exist_ok=True)
        (root / "Annotations" / f"{name}.xml").write_text(f"<annotation>{''.join(found)}</annotation>")
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    numbers[2:9, 3:7] = 8  # cat
    numbers[20:25, 30:35] = 8
    numbers[9, 3:7] = 255  # the border
    palette = Image.new("P", (WIDTH, HEIGHT))
    palette.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tobytes())
    palette.putdata(numbers.ravel().tolist())
    (root / "SegmentationClass").mkdir()
    palette.save(root / "SegmentationClass" / "b.png")
    (root / "ImageSets" / "Main").mkdir(parents=True)
    (root / "ImageSets" / "Main" / "val.txt").write_text("a\nb\n")
    (root / "ImageSets" / "Main" / "train.txt").write_text("b\n")
    return tmp_path


def instance(image: int, category: int, segmentation: Any, box: list[float], crowd: int = 0) -> dict[str, Any]:
    return {
        "image_id": image,
        "category_id": category,
        "segmentation": segmentation,
        "bbox": box,
        "iscrowd": crowd,
    }


@pytest.fixture
def coco(tmp_path: Path) -> Callable[..., str]:
    """Writes a tree with the annotations given, and gives its spec."""

    def write(*annotations: dict[str, Any], more: str = "", **changes: Any) -> str:
        for name in ("000000000139.jpg", "000000000285.jpg"):
            picture(tmp_path / "val2017" / name)
        given = {
            "images": [
                {"id": 285, "file_name": "000000000285.jpg", "width": WIDTH, "height": HEIGHT},
                {"id": 139, "file_name": "000000000139.jpg", "width": WIDTH, "height": HEIGHT},
            ],
            "categories": [{"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"}, {"id": 13, "name": "stop"}],
            "annotations": list(annotations),
            **changes,
        }
        (tmp_path / "instances.json").write_text(json.dumps(given))
        return f"coco:{tmp_path / 'val2017'},annotations={tmp_path / 'instances.json'}{more}"

    return write


TENCH, TABBY, CRANE = "n01440764", "n02123045", "n02012849"


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    for split, counts in (("val", {TABBY: 2, TENCH: 1, CRANE: 0}), ("train", {TABBY: 1})):
        for wordnet, count in counts.items():
            (tmp_path / split / wordnet).mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (5, 4)).save(tmp_path / split / wordnet / f"{number}.JPEG", "jpeg")
    return tmp_path


def encoded(mode: str = "RGB", kind: str = "png") -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)).convert(mode).save(file, kind)
    return file.getvalue()


@pytest.fixture
def hf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set of three rows, as `save_to_disk` and as Parquet write it; the last image is broken."""
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "text": datasets.Value("string"),
        }
    )
    images = [{"bytes": content, "path": None} for content in (encoded(), encoded("L"), b"broken")]
    given = datasets.Dataset.from_dict(
        {"image": images, "label": [1, 0, -1], "text": ["a", "b", "c"]}, features=features
    )
    given.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": given, "test": given.select([0])}).save_to_disk(tmp_path / "two")
    (tmp_path / "parquet").mkdir()
    given.to_parquet(tmp_path / "parquet" / "train-0.parquet")
    given.select([0]).to_parquet(tmp_path / "parquet" / "test-0.parquet")
    return tmp_path


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as torchvision's download leaves it: 15 training and 2 test pictures, whose checksums are not asked."""
    from torchvision.datasets import CIFAR10

    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    for number, (file, _) in enumerate([*CIFAR10.train_list, *CIFAR10.test_list]):
        count = 3 if number < 5 else 2
        pixels = np.full((count, 3072), number, np.uint8) + np.arange(count, dtype=np.uint8)[:, None]
        (folder / file).write_bytes(pickle.dumps({"data": pixels, "labels": [(number + i) % 10 for i in range(count)]}))
    names = ["airplane", "automobile", *"bcdefghi"]
    (folder / CIFAR10.meta["filename"]).write_bytes(pickle.dumps({"label_names": names}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda *args: True)
    return tmp_path
