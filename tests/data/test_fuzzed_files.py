"""Malformed images and files of class names: one error each, or what the file contains."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from support.fuzzing import changed_bytes, changed_document, examples
from xai_core.data.images import open_image, upright
from xai_core.data.labels import read_labels
from xai_core.errors import XAIError

ROTATED = ("JPEG", "PNG", "TIFF")


def encoded(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = np.random.default_rng(0).integers(0, 256, (12, 10, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **({"exif": exif} if kind in ROTATED else {}))
    return file.getvalue()


IMAGES = {kind: encoded(kind) for kind in ("JPEG", "PNG", "TIFF", "GIF", "BMP", "WEBP", "PPM", "TGA", "SGI", "PCX")}


@pytest.mark.filterwarnings("ignore")  # of Pillow, about damaged metadata
@pytest.mark.parametrize("kind", IMAGES)
@given(data=st.data())
@examples(0.2)
def test_fuzzed_images(data: st.DataObject, kind: str, tmp_path: Path) -> None:
    file = tmp_path / "image.jpg"
    file.write_bytes(data.draw(changed_bytes(IMAGES[kind])))
    try:
        image = open_image(file)
    except XAIError:
        return
    assert image.mode == "RGB"
    assert np.asarray(image).shape == (image.height, image.width, 3)
    assert upright(image) is image


LABELS: list[Any] = [
    ["cat", "dog"],
    {"0": "cat", "1": "dog"},
    {"cat": 0, "dog": 1},
    {"0": ["n1", "cat"], "1": ["n2", "dog"]},
]


@given(document=st.sampled_from(LABELS).flatmap(changed_document))
@examples()
def test_fuzzed_class_names(document: Any, tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    file.write_text(json.dumps(document))
    try:
        names = read_labels(file)
    except XAIError:
        return
    assert names
    assert all(isinstance(name, str) and name for name in names)
    if isinstance(document, list):
        assert names == document
    elif all(isinstance(value, int) for value in document.values()):
        assert {name: class_id for class_id, name in enumerate(names)} == document
    else:
        values = [document[str(class_id)] for class_id in range(len(document))]
        assert names == [value[-1] if isinstance(value, list) else value for value in values]


@pytest.mark.parametrize("suffix", ["json", "txt"])
@given(data=st.data())
@examples()
def test_fuzzed_bytes_of_class_names(data: st.DataObject, suffix: str, tmp_path: Path) -> None:
    content = json.dumps(LABELS[1]) if suffix == "json" else "cat\ndog\n"
    file = tmp_path / f"labels.{suffix}"
    file.write_bytes(data.draw(changed_bytes(content.encode())))
    try:
        names = read_labels(file)
    except XAIError:
        return
    assert names
    assert all(isinstance(name, str) and name for name in names)
