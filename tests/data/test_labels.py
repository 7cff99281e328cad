"""Class names from files and from specs."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

import xai_core as xai
from xai_core.data.labels import read_labels
from xai_core.errors import FileError, OptionError

NAMES = ["tench", "great white shark", "cat"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.txt", "tench\ngreat white shark\r\n cat \n\n"),
        ("labels.txt", "\ufefftench\ngreat white shark\ncat"),
        ("labels.json", json.dumps(NAMES)),
        ("labels.json", json.dumps({"2": "cat", "0": "tench", "1": "great white shark"})),
        ("labels.json", json.dumps({"cat": 2, "tench": 0, "great white shark": 1})),
        ("labels.json", json.dumps({str(i): [f"n{i}", name] for i, name in enumerate(NAMES)})),
    ],
)
def test_files(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert read_labels(str(tmp_path / name)) == read_labels(tmp_path / name) == NAMES


@pytest.mark.parametrize("labels", [NAMES, tuple(NAMES), "+".join(NAMES)])
def test_names(labels: object) -> None:
    assert read_labels(labels) == NAMES


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("labels.txt", "", "contains no class names"),
        ("labels.txt", "cat\n\ndog", "the name of class 1 must be a nonempty string"),
        ("labels.json", "[", "is not JSON"),
        ("labels.json", "3", "contains no class names"),
        ("labels.json", "[]", "contains no class names"),
        ("labels.json", "[1]", "the name of class 0 must be a nonempty string, got 1"),
        ("labels.json", '{"0": "cat", "2": "dog"}', "has no name for class 1"),
        ("labels.json", '{"cat": "dog"}', "has no name for class 0"),
    ],
)
def test_wrong_files_are_rejected(name: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(OptionError, match=rf"{re.escape(str(tmp_path / name))}.*{message}.*expected one name per line"):
        read_labels(tmp_path / name)


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match=r"none\.txt does not exist; expected one name per line"):
        read_labels("none.txt")
    (tmp_path / "labels.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(FileError, match="cannot be read"):
        read_labels(tmp_path / "labels.txt")
    monkeypatch.setenv("XAI_MAX_LABELS_BYTES", "2")
    with pytest.raises(OptionError, match="more than 2 bytes"):
        read_labels(tmp_path / "labels.txt")
    with pytest.raises(OptionError, match=r"must be a file or names joined by \+"):
        read_labels(3)


@pytest.mark.parametrize("labels", ["a+b", ["a", "b"]])
def test_every_source_takes_labels(labels: Any) -> None:
    loaded = xai.load_model("cifar-vit:size=32", labels=labels)
    assert loaded.class_names == ["a", "b"]
    assert xai.load_model(loaded.spec).class_names == ["a", "b"]
