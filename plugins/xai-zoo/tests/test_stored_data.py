"""ImageNet and Hugging Face's data sets, from small trees."""

import io
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import xai_core as xai
from support.annotated_datasets import CRANE, TABBY, TENCH, encoded
from xai_core.errors import (
    CheckpointError,
    FileError,
    ImageFileError,
    MissingDependencyError,
    OptionError,
    UnknownDatasetError,
)

WORDS = {TENCH: ("tench", "Tinca tinca"), TABBY: ("tabby", "tabby cat"), CRANE: ("crane",)}


def test_imagenets_targets_are_those_of_the_thousand(imagenet: Path) -> None:
    data = xai.load_dataset(f"imagenet:{imagenet}")
    assert [(sample.id, sample.target) for sample in data] == [
        (f"{TENCH}/0.JPEG", 0),
        (f"{TABBY}/0.JPEG", 281),
        (f"{TABBY}/1.JPEG", 281),
    ]
    assert data.ids[0] == f"{TENCH}/0.JPEG"  # type: ignore[attr-defined]
    names = data.class_names  # type: ignore[attr-defined]
    assert (len(names), names[0], names[281], list(names)) == (1000, TENCH, TABBY, sorted(names))
    assert names.index(CRANE) == 134, "where ImageNet's models have the crane that is a bird"
    assert [sample.id for sample in xai.load_dataset(f"imagenet:{imagenet},split=train")] == [f"{TABBY}/0.JPEG"]


def test_imagenets_classes_are_named_by_what_torchvision_writes(imagenet: Path) -> None:
    torch.save((WORDS, []), imagenet / "meta.bin")
    data = xai.load_dataset(f"imagenet:{imagenet}")
    names = data.class_names  # type: ignore[attr-defined]
    assert (names[0], names[281], names[1]) == ("tench, Tinca tinca", "tabby, tabby cat", "n01443537")


@pytest.mark.parametrize("packed", [False, True])
def test_imagenets_classes_are_named_by_the_development_kit(packed: bool, imagenet: Path) -> None:
    from scipy.io import savemat

    table = np.zeros(2, dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O")])
    table["WNID"], table["words"] = [TENCH, TABBY], [", ".join(WORDS[TENCH]), ", ".join(WORDS[TABBY])]
    file = imagenet / "ILSVRC2012_devkit_t12" / "data" / "meta.mat"
    file.parent.mkdir(parents=True)
    savemat(file, {"synsets": table})
    if packed:
        with tarfile.open(imagenet / "ILSVRC2012_devkit_t12.tar.gz", "w:gz") as archive:
            archive.add(file, "ILSVRC2012_devkit_t12/data/meta.mat")
        file.unlink()
    names = xai.load_dataset(f"imagenet:{imagenet}").class_names  # type: ignore[attr-defined]
    assert (names[0], names[281]) == ("tench, Tinca tinca", "tabby, tabby cat")


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
    texts = ({TENCH: "tench"}, []), ({TENCH: [3]}, []), ({3: ["tench"]}, []), ([["tench"]], [])
    for content in (b"", b"no", torch.zeros(3), *texts):
        if isinstance(content, bytes):
            (imagenet / "meta.bin").write_bytes(content)
        else:
            torch.save(content, imagenet / "meta.bin")
        with pytest.raises(FileError, match=r"meta\.bin is not a file of torchvision\.datasets\.ImageNet.*remove it"):
            xai.load_dataset(f"imagenet:{imagenet}")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("table", [b"", b"no", {"other": 1}, {"synsets": 1}, {"synsets": np.zeros(2)}])
def test_a_development_kit_that_cannot_be_read_is_named(
    table: bytes | dict[str, object], packed: bool, imagenet: Path
) -> None:
    from scipy.io import savemat

    content = io.BytesIO(table if isinstance(table, bytes) else b"")
    if isinstance(table, dict):
        savemat(content, table)
    file = imagenet / "ILSVRC2012_devkit_t12" / "data" / "meta.mat"
    if packed:
        file = imagenet / "ILSVRC2012_devkit_t12.tar.gz"
        with tarfile.open(file, "w:gz") as archive:
            member = tarfile.TarInfo("ILSVRC2012_devkit_t12/data/meta.mat")
            member.size = len(content.getvalue())
            archive.addfile(member, io.BytesIO(content.getvalue()))
    else:
        file.parent.mkdir(parents=True)
        file.write_bytes(content.getvalue())
    with pytest.raises(FileError, match=rf"{file.name} cannot be read .*expected the development kit.*remove it"):
        xai.load_dataset(f"imagenet:{imagenet}")
    if packed:
        file.write_bytes(file.read_bytes()[:-20])
        with pytest.raises(FileError, match=rf"{file.name} cannot be read"):
            xai.load_dataset(f"imagenet:{imagenet}")


def test_class_names_of_imagenet_that_unpack_to_too_much_are_refused(
    imagenet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save((WORDS, [torch.zeros(10_000)]), imagenet / "meta.bin")
    stored = io.BytesIO((imagenet / "meta.bin").read_bytes())
    with zipfile.ZipFile(stored) as archive, zipfile.ZipFile(imagenet / "meta.bin", "w", zipfile.ZIP_DEFLATED) as copy:
        for name in archive.namelist():
            copy.writestr(name, archive.read(name))
    monkeypatch.setenv("XAI_MAX_CHECKPOINT_BYTES", "30000")
    with pytest.raises(CheckpointError, match=r"meta\.bin has .* expected at most 30,000"):
        xai.load_dataset(f"imagenet:{imagenet}")


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
