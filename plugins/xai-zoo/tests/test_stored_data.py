"""ImageNet and Hugging Face's data sets, from small trees."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xai_core as xai
from support.annotated_datasets import TABBY, TENCH, encoded
from xai_core.errors import (
    FileError,
    ImageFileError,
    MissingDependencyError,
    OptionError,
    UnknownDatasetError,
)


def test_imagenets_targets_are_those_of_the_thousand(imagenet: Path) -> None:
    data = xai.load_dataset(f"imagenet:{imagenet}")
    assert [(sample.id, sample.target) for sample in data] == [
        (f"{TENCH}/0.JPEG", 0),
        (f"{TABBY}/0.JPEG", 281),
        (f"{TABBY}/1.JPEG", 281),
    ]
    assert data.ids[0] == f"{TENCH}/0.JPEG"  # type: ignore[attr-defined]
    names = data.class_names  # type: ignore[attr-defined]
    assert (len(names), names[0], names[281], names[134]) == (1000, "tench", "tabby", "crane bird")
    assert [sample.id for sample in xai.load_dataset(f"imagenet:{imagenet},split=train")] == [f"{TABBY}/0.JPEG"]


def test_imagenets_classes_have_the_names_of_torchvision(imagenet: Path) -> None:
    from torchvision.models import AlexNet_Weights

    (imagenet / "meta.bin").write_bytes(b"junk")  # torchvision's own table is not read
    data = xai.load_dataset(f"imagenet:{imagenet}")
    assert list(data.class_names) == AlexNet_Weights.DEFAULT.meta["categories"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "cannot be read .*reinstall timm"),
        (b"n01440764 n01443537\n", "contains 2 different WordNet ids, expected 1000; reinstall timm"),
        (b"n01440764\n" * 1000, "contains 1 different WordNet ids, expected 1000; reinstall timm"),
    ],
)
def test_damaged_wordnet_ids_are_an_error(
    imagenet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, message: str
) -> None:
    damaged = tmp_path / "imagenet_synsets.txt"
    damaged.write_bytes(content)
    monkeypatch.setattr("xai_zoo.imagenet_images.installed_file", lambda *_: damaged)
    with pytest.raises(FileError, match=message):
        xai.load_dataset(f"imagenet:{imagenet}")


def test_an_imagenet_that_is_not_there_is_refused(imagenet: Path) -> None:
    with pytest.raises(OptionError, match="imagenet:FOLDER"):
        xai.load_dataset("imagenet")
    with pytest.raises(OptionError, match="split must be one of val, train, got 'test'"):
        xai.load_dataset(f"imagenet:{imagenet},split=test")
    with pytest.raises(FileError, match=r"contains no folder `val`; expected `val` and `train` in it.*n01440764"):
        xai.load_dataset(f"imagenet:{imagenet / 'val'}")
    Image.new("RGB", (5, 4)).save(imagenet / "flat.JPEG", "jpeg")
    (imagenet / "flat" / "val").mkdir(parents=True)
    (imagenet / "flat.JPEG").rename(imagenet / "flat" / "val" / "1.JPEG")
    with pytest.raises(FileError, match="contains no class folders; expected"):
        xai.load_dataset(f"imagenet:{imagenet / 'flat'}")
    (imagenet / "val" / "cat").mkdir()
    with pytest.raises(FileError, match=r"cat is not a class of ImageNet.*`folder:PATH`"):
        xai.load_dataset(f"imagenet:{imagenet}")
    (imagenet / "val" / "cat").rmdir()


# Hugging Face's data sets


@pytest.mark.parametrize("where", ["one", "two,split=train", "parquet,split=train", "parquet/train-0.parquet"])
def test_hugging_face_data_is_read_from_where_it_was_written(where: str, hf: Path) -> None:
    data = xai.load_dataset(f"hf:{hf}/{where}")
    assert len(data) == 3
    assert data.class_names == ["cat", "dog"]  # type: ignore[attr-defined]
    samples = [data[0], data[-2]]
    assert [(sample.id, sample.target) for sample in samples] == [("0", 1), ("1", 0)]
    expected = np.asarray(Image.open(io.BytesIO(encoded())))
    assert np.array_equal(np.asarray(samples[0].image), expected)
    assert samples[1].image.mode == "RGB"  # type: ignore[union-attr]
    with pytest.raises(ImageFileError, match=r"row 2 of .* cannot be read as an image"):
        data[2]
    with pytest.raises(IndexError):
        data[3]


def test_hugging_face_columns_are_chosen(hf: Path) -> None:
    assert xai.load_dataset(f"hf:{hf}/one,label=none")[0].target is None
    assert xai.load_dataset(f"hf:{hf}/one,label=none").class_names is None  # type: ignore[attr-defined]
    for options, reason in (
        ("image=img", "image='img' is not a column of .*; did you mean 'image'"),
        ("label=class", "label='class' is not a column of .*; known: image, label, text"),
        ("label=text", "contains .*string.*expected class ids.*label=none"),
        ("image=label", "expected images"),
    ):
        with pytest.raises(OptionError, match=reason):
            xai.load_dataset(f"hf:{hf}/one,{options}")


def test_hugging_face_splits_are_chosen(hf: Path) -> None:
    assert len(xai.load_dataset(f"hf:{hf}/two,split=test")) == 1
    assert len(xai.load_dataset(f"hf:{hf}/parquet,split=train[:2]")) == 2
    for where in ("two", "parquet"):
        with pytest.raises(OptionError, match=r"the split is missing; expected one of the splits of .*: train, test"):
            xai.load_dataset(f"hf:{hf}/{where}")
    with pytest.raises(OptionError, match=r"there is no split 'val'; expected one of the splits of .*: train, test"):
        xai.load_dataset(f"hf:{hf}/two,split=val")
    with pytest.raises(UnknownDatasetError, match="val"):
        xai.load_dataset(f"hf:{hf}/parquet,split=val")
    with pytest.raises(OptionError, match=r"one was saved with no splits; remove split=test"):
        xai.load_dataset(f"hf:{hf}/one,split=test")


def test_hugging_face_data_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="hf:NAME"):
        xai.load_dataset("hf")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnknownDatasetError, match=r"cannot open .*empty .*expected a dataset on the hub") as caught:
        xai.load_dataset(f"hf:{tmp_path / 'empty'}")
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'xai-zoo\[hf\]'"):
        xai.load_dataset(f"hf:{tmp_path}")
