"""Image files of every mode are opened in RGB and upright, and a broken file is named."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import xai_core as xai
from support.pictures import broken
from xai_core.data.images import as_rgb, open_image
from xai_core.errors import FileError, ImageFileError

EVERY_MODE = ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "F"]


@pytest.mark.parametrize("mode", [*EVERY_MODE, "I;16", "I;16B", "I;16L", "I;16N"])
def test_every_mode_becomes_rgb(mode: str, lite0: xai.LoadedModel) -> None:
    image = Image.new(mode, (20, 10))
    assert (as_rgb(image).mode, as_rgb(image).size) == ("RGB", (20, 10))
    assert lite0.preprocess(image).shape == (3, 224, 224)


@pytest.mark.parametrize(
    ("mode", "values", "shown"),
    [
        ("I;16", [0, 257, 32896, 65535], [0, 1, 128, 255]),
        ("I;16B", [0, 257, 32896, 65535], [0, 1, 128, 255]),
        ("I", [0, 1, 128, 255], [0, 1, 128, 255]),
        ("I", [-5, 257, 32896, 65535], [0, 1, 128, 255]),
        ("F", [0, 0.5, 0.25, 1], [0, 128, 64, 255]),
        ("F", [0, 1, 128, 255], [0, 1, 128, 255]),
    ],
)
def test_more_than_eight_bits_are_scaled(mode: str, values: list[float], shown: list[int]) -> None:
    image = Image.new(mode, (4, 1))
    for x, value in enumerate(values):
        image.putpixel((x, 0), value)  # type: ignore[arg-type]
    assert [as_rgb(image).getpixel((x, 0)) for x in range(4)] == [(value,) * 3 for value in shown]


def test_a_picture_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ImageFileError, match="not finite"):
        as_rgb(Image.fromarray(np.array([[0, np.nan]], dtype=np.float32)))


@pytest.mark.parametrize(
    ("mode", "clear", "black"),
    [("RGBA", (0, 0, 0, 0), (0, 0, 0, 255)), ("RGBa", (0, 0, 0, 0), (0, 0, 0, 255))]
    + [(mode, (0, 0), (0, 255)) for mode in ("LA", "La", "PA")],
)
def test_what_is_transparent_shows_white(mode: str, clear: tuple[int, ...], black: tuple[int, ...]) -> None:
    image = Image.new(mode, (2, 1), clear)
    image.putpixel((1, 0), black)
    assert [as_rgb(image).getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (0, 0, 0)]


def test_a_transparent_palette_entry_shows_white(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([0, 0, 0, 0, 0, 0])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "image.png", transparency=0)
    opened = open_image(tmp_path / "image.png")
    assert [opened.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (0, 0, 0)]


def test_exif_turns_a_picture_upright_once(tmp_path: Path, picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned a quarter
    picture.save(tmp_path / "turned.png", exif=exif)
    image = open_image(tmp_path / "turned.png")
    assert np.array_equal(np.asarray(image), np.rot90(np.asarray(picture), -1))
    assert np.array_equal(np.asarray(as_rgb(image)), np.asarray(image))


def test_a_sixteen_bit_file_keeps_its_contrast(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256, dtype=np.uint16)[None].repeat(2, 0)
    for name in ("ramp.png", "ramp.tif"):
        Image.fromarray(ramp).save(tmp_path / name)
        assert np.array_equal(np.asarray(open_image(tmp_path / name))[0, :, 0], np.arange(256))


@pytest.mark.parametrize("kind", ["truncated", "zero-byte", "text", "overwritten"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".gif", ".bmp"])
def test_a_broken_file_is_named(kind: str, suffix: str, tmp_path: Path, picture: Image.Image) -> None:
    path = broken(kind, tmp_path / f"broken{suffix}", picture)
    if kind == "overwritten" and suffix in (".bmp", ".gif"):
        return  # any bytes are a picture in these formats
    with pytest.raises(ImageFileError, match=f"broken{suffix}.*cannot be read"):
        open_image(path)


def test_a_missing_file_is_not_called_broken(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.png", "does not exist"), (tmp_path, "is a folder")):
        with pytest.raises(FileError, match=reason) as caught:
            open_image(path)
        assert not isinstance(caught.value, ImageFileError)
