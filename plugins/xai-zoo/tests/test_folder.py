"""Folders of images, flat or with one folder per class."""

import os
from pathlib import Path

import pytest
from PIL import Image

import xai_core as xai
from support.pictures import broken
from xai_core.errors import (
    DatasetWarning,
    FileError,
    ImageFileError,
    OptionError,
)


def test_a_flat_folder_has_no_targets(tmp_path: Path, picture: Image.Image) -> None:
    for name in ("b.PNG", "a.jpg", "c d.webp", ".hidden.png"):
        picture.save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "empty").mkdir()
    dataset = xai.load_dataset(f"folder:{tmp_path}")
    assert len(dataset) == 3
    assert [(sample.id, sample.target) for sample in dataset] == [("a.jpg", None), ("b.PNG", None), ("c d.webp", None)]
    assert dataset.class_names is None  # type: ignore[attr-defined]


def test_a_folder_per_class_gives_targets_in_sorted_order(tmp_path: Path, picture: Image.Image) -> None:
    for name in ("dog/1.png", "cat/2.png", "cat/1.png", "cat/old/3.png", ".cache/1.png", "cat/.old/1.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / name)
    (tmp_path / "bird").mkdir()
    dataset = xai.load_dataset("folder", path=tmp_path)
    expected = [("cat/1.png", 1), ("cat/2.png", 1), ("cat/old/3.png", 1), ("dog/1.png", 2)]
    assert [(sample.id, sample.target) for sample in dataset] == expected
    assert dataset.class_names == ["bird", "cat", "dog"]  # type: ignore[attr-defined]


@pytest.mark.skipif(os.name == "nt", reason="names are bytes on POSIX systems only")
def test_names_that_are_no_utf_8_are_ids_that_can_be_written(tmp_path: Path, picture: Image.Image) -> None:
    names = [b"caf\xe9.png", b"caf\xe8.png", rb"caf\udce9.png", "café.png".encode()]
    for name in names:
        picture.save(tmp_path / "a.png")
        try:
            (tmp_path / "a.png").rename(tmp_path / os.fsdecode(name))
        except OSError:
            pytest.skip("this file system takes UTF-8 only")
    dataset = xai.load_dataset(f"folder:{tmp_path}")
    ids = [sample.id for sample in dataset]
    assert ids == dataset.ids  # type: ignore[attr-defined]
    assert {*ids} == {r"caf\udce9.png", r"caf\udce8.png", r"caf\\udce9.png", "café.png"}
    assert all(id.encode() for id in ids)


def test_folders_that_link_in_circles_hold_each_image_once(tmp_path: Path, picture: Image.Image) -> None:
    for name in ("cat/old/1.png", "cat/2.png", "dog/3.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(tmp_path / name)
    for name, where in (("cat/again", "."), ("cat/old/up", "../.."), ("cat/other", "old")):
        (tmp_path / name).symlink_to(where, target_is_directory=True)
    (tmp_path / "dog" / "linked").symlink_to(tmp_path / "cat" / "old", target_is_directory=True)
    expected = ["cat/2.png", "cat/old/1.png", "dog/3.png", "dog/linked/1.png"]
    assert [sample.id for sample in xai.load_dataset(f"folder:{tmp_path}")] == expected


@pytest.mark.skipif(os.name == "nt", reason="no pipes in folders")
@pytest.mark.parametrize("names", [("a.png",), ("cat/a.png", "dog/b.png")])
def test_pipes_and_devices_are_skipped_with_a_warning(
    tmp_path: Path, picture: Image.Image, names: tuple[str, ...]
) -> None:
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        picture.save(tmp_path / name)
    for number in range(4):
        os.mkfifo((tmp_path / names[-1]).with_name(f"pipe-{number}.jpg"))
    (tmp_path / names[0]).with_name("device.png").symlink_to("/dev/zero")
    with pytest.warns(DatasetWarning, match=r"pipes, sockets or devices and are skipped: .*device\.png, .* and 2 more"):
        dataset = xai.load_dataset(f"folder:{tmp_path}")
    assert [sample.id for sample in dataset] == [*names]


@pytest.mark.skipif(os.name == "nt", reason="no pipes in folders")
def test_a_folder_of_pipes_contains_no_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.warns(DatasetWarning), pytest.raises(FileError, match="contains no images"):
        xai.load_dataset(f"folder:{tmp_path}")


def test_a_folder_is_where_it_was_wherever_the_process_goes(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "2024").mkdir()
    picture.save(tmp_path / "2024" / "a.png")
    monkeypatch.chdir(tmp_path)
    for spec in ("folder:2024", "folder:path=./2024"):
        dataset = xai.load_dataset(spec)
        with monkeypatch.context() as moved:
            moved.chdir("/")
            assert dataset[0].id == "a.png"
    with pytest.raises(OptionError, match=r"path must be a path, got 2024; .*path=\"2024\" in quotes"):
        xai.load_dataset("folder:path=2024")


def test_nothing_is_decoded_before_it_is_asked_for(tmp_path: Path, picture: Image.Image) -> None:
    picture.save(tmp_path / "a.png")
    broken("truncated", tmp_path / "b.png", picture)
    dataset = xai.load_dataset(f"folder:{tmp_path}")
    assert dataset[0].id == "a.png"
    with pytest.raises(ImageFileError, match=r"b\.png"):
        dataset[1]
    with pytest.raises(IndexError):
        dataset[2]


def test_a_folder_that_is_no_data_set_is_refused(tmp_path: Path, picture: Image.Image) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "mixed/cat").mkdir(parents=True)
    for name in ("mixed/a.png", "mixed/cat/b.png"):
        picture.save(tmp_path / name)
    reasons = {
        "none": "does not exist",
        "empty": "no images",
        "mixed": r"contains images \(a.png\) and folders of images \(cat/b.png\)",
        "mixed/a.png": "is a file",
    }
    for name, reason in reasons.items():
        with pytest.raises(FileError, match=f"{reason}.*expected a folder of images"):
            xai.load_dataset(f"folder:{tmp_path / name}")
    with pytest.raises(OptionError, match="folder:PATH"):
        xai.load_dataset("folder")


def test_a_folder_that_may_not_be_read_is_no_smaller_data_set(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        picture.save(tmp_path / name / "1.png")
    listed = os.scandir

    def guarded(path: str) -> object:
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return listed(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(FileError, match=r"dog cannot be listed \(Permission denied\)"):
        xai.load_dataset(f"folder:{tmp_path}")
