"""What is in folders in real life: every image file is opened in RGB, or refused in one line."""

import builtins
import io
import os
import socket
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from support import subprocesses as fresh
from xai_core.data import images
from xai_core.data.images import as_rgb, decode_image, open_image, read_image, upright
from xai_core.errors import ImageFileError, OptionError


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize(("mode", "suffix"), [("CMYK", ".jpg"), ("P", ".gif"), ("L", ".jpg"), ("1", ".png")])
def test_a_file_of_another_mode_shows_what_it_showed(mode: str, suffix: str, tmp_path: Path) -> None:
    ramp = Image.linear_gradient("L")
    ramp.convert("RGB").convert(mode).save(tmp_path / f"ramp{suffix}", quality=95)
    opened = open_image(tmp_path / f"ramp{suffix}")
    assert (opened.mode, opened.size) == ("RGB", ramp.size)
    shown = np.asarray(opened, float).mean((1, 2))
    smooth = np.convolve(shown, np.ones(17) / 17, "valid")  # black and white is dithered
    assert np.abs(smooth - np.arange(8, 248)).max() < 8


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "1", "I;16"])
def test_one_pixel_is_a_picture(mode: str, tmp_path: Path) -> None:
    Image.new(mode, (1, 1)).save(tmp_path / "one.png")
    opened = open_image(tmp_path / "one.png")
    assert (opened.mode, opened.size) == ("RGB", (1, 1))


def test_every_refusal_is_one_line_that_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not an image\n" * 100)
    Image.new("RGB", (64, 64)).save(tmp_path / "locked.jpg")
    whole = (tmp_path / "locked.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    opened = io.open

    def guarded(file: object, *args: object, **options: object) -> object:
        if str(file).endswith("locked.jpg"):
            raise PermissionError(13, "Permission denied", str(file))
        return opened(file, *args, **options)  # type: ignore[call-overload]

    for module in (io, builtins):
        monkeypatch.setattr(module, "open", guarded)
    reasons = {
        "empty": "it is empty",
        "text": "its content is in none of the formats .*JPEG, .*WEBP",
        "cut": "truncated",
        "locked": "Permission denied",
    }
    for name, reason in reasons.items():
        with pytest.raises(ImageFileError, match=rf"{name}\.jpg cannot be read .*{reason}") as caught:
            open_image(tmp_path / f"{name}.jpg")
        assert "\n" not in str(caught.value)
        assert str(caught.value).count(str(tmp_path)) == 1


def special_files(folder: Path) -> list[Path]:
    """A pipe, a socket and a link to a device, which all have names of images."""
    paths = [folder / f"{name}.png" for name in ("pipe", "socket", "device")]
    os.mkfifo(paths[0])
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(paths[1]))
    paths[2].symlink_to("/dev/zero")
    return paths


@pytest.mark.skipif(sys.platform == "win32", reason="no such files")
def test_a_pipe_socket_or_device_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    for path in special_files(tmp_path):
        with pytest.raises(ImageFileError, match=rf"{path.name} is a pipe, socket or device; expected an image file"):
            open_image(path)


def test_bytes_are_opened_as_files_are(picture: Image.Image) -> None:
    file = io.BytesIO()
    picture.save(file, "png")
    assert np.array_equal(np.asarray(decode_image(file, "row 3").image), np.asarray(picture))
    with pytest.raises(ImageFileError, match="row 3 cannot be read"):
        decode_image(io.BytesIO(b"no"), "row 3")


@pytest.mark.parametrize("orientation", range(10))
def test_it_is_said_how_a_picture_was_stored(orientation: int, tmp_path: Path, picture: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(tmp_path / "turned.jpg", exif=exif)
    read = read_image(tmp_path / "turned.jpg")
    assert read.stored == (64, 48)
    assert read.turned == (2 <= orientation <= 8)
    assert read.image.size == ((48, 64) if 5 <= orientation <= 8 else (64, 48))


def test_damaged_exif_data_are_ignored(tmp_path: Path, picture: Image.Image) -> None:
    picture.save(tmp_path / "damaged.png", exif=b"Exif\0\0junk")
    expected = np.asarray(picture.convert("RGB"))
    assert np.array_equal(np.asarray(open_image(tmp_path / "damaged.png")), expected)
    picture.info["exif"] = b"Exif\0\0junk"
    with pytest.raises(SyntaxError):
        picture.getexif()
    assert upright(picture) is picture


# Large pictures


@pytest.mark.parametrize(
    ("mode", "orientation"), [*((mode, 1) for mode in ("RGB", "RGBA", "P", "L", "I;16", "F", "CMYK")), ("L", 6)]
)
def test_a_large_picture_is_averaged_down(
    mode: str, orientation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ramp = np.linspace(0, 1, 300)[None].repeat(200, 0)
    ramp[:100] **= 2
    whole = Image.fromarray(np.uint8(ramp * 255))
    exif = Image.Exif()
    exif[0x0112] = orientation
    if mode == "I;16":
        whole = Image.fromarray(np.uint16(ramp * 65535))
    elif mode == "F":
        whole = Image.fromarray(np.float32(ramp))
    elif mode == "RGBA":
        whole = Image.merge("RGBA", [*[Image.new("L", whole.size)] * 3, Image.eval(whole, lambda v: 255 - v)])
    elif mode != "L":
        whole = whole.convert("RGB").convert(mode)
    path = tmp_path / ("ramp.tif" if mode in ("F", "CMYK") else "ramp.png")
    whole.save(path, exif=exif)
    monkeypatch.setattr(images, "LONGEST", 60)
    monkeypatch.setattr(images, "_TILE", 32)
    read = read_image(path)
    monkeypatch.undo()
    assert read.stored == (300, 200)
    upright = open_image(path)
    assert read.image.size == ((60, 40) if orientation == 1 else (40, 60))
    expected = np.asarray(upright.reduce(5), float)
    assert np.abs(np.asarray(read.image, float) - expected).max() <= 1


def test_what_fits_is_left_as_it_is(tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    picture.save(tmp_path / "fits.png")
    monkeypatch.setattr(images, "LONGEST", 64)
    assert np.array_equal(np.asarray(open_image(tmp_path / "fits.png")), np.asarray(picture))


def test_a_sliver_keeps_a_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (1000, 1), "red").save(tmp_path / "sliver.png")
    monkeypatch.setattr(images, "LONGEST", 30)
    opened = open_image(tmp_path / "sliver.png")
    assert (opened.size, opened.getpixel((29, 0))) == ((30, 1), (255, 0, 0))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no resource module")
def test_twelve_thousand_pixels_squared_take_bounded_memory(tmp_path: Path) -> None:
    huge = Image.new("1", (12_000, 12_000), 1)
    huge.save(tmp_path / "huge.png", compress_level=1)
    huge.convert("L").save(tmp_path / "huge.jpg", quality=50)
    names = [str(tmp_path / name) for name in ("huge.jpg", "huge.png")]
    code = (
        "import resource, warnings, xai_core.data.images as images;"
        "from PIL import Image, JpegImagePlugin, PngImagePlugin;"
        f"warnings.filterwarnings('error', 'Image size'); paths = {names};"
        "most = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024;"
        "Image.new('RGB', (4096, 4096)).resize((4096, 4096)); used = [most()];"
        "sizes = [(images.open_image(path).size, used.append(most()))[0] for path in paths];"
        "assert sizes == [(4096, 4096)] * 2, sizes; print(*used)"
    )
    before, jpeg, png = map(int, fresh.printed(code).split())
    assert jpeg - before < 250, "36 million pixels were decoded, not 144 million in RGB, which are 549 MiB"
    assert png - before < 450, "144 million pixels of one byte, and at a time a tile of RGB"


def test_the_limit_is_pillows_and_a_warning_below_it_is_no_error(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture.save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 64 // 2 - 1)
    with pytest.raises(ImageFileError, match=r"bomb\.png is too large.*3072 pixels.*limit of 3070.*make it smaller"):
        open_image(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48 * 64 // 2)
    filters = list(warnings.filters)
    assert open_image(tmp_path / "bomb.png").size == picture.size
    assert list(warnings.filters) == filters


def test_the_limit_is_named_with_the_variable_that_changes_it(
    tmp_path: Path, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture.save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", Image.MAX_IMAGE_PIXELS)
    monkeypatch.setenv("XAI_MAX_PIXELS", "3070")
    with pytest.raises(ImageFileError, match=r"3072 pixels.*limit of 3070 .*or set XAI_MAX_PIXELS to a larger number"):
        open_image(tmp_path / "bomb.png")
    monkeypatch.setenv("XAI_MAX_PIXELS", "3072")
    assert open_image(tmp_path / "bomb.png").size == picture.size
    for value in ("0", "-1", "many", "9" * 30):
        monkeypatch.setenv("XAI_MAX_PIXELS", value)
        with pytest.raises(
            OptionError, match=f"XAI_MAX_PIXELS={value} is not a valid limit; expected a positive integer"
        ):
            open_image(tmp_path / "bomb.png")


def test_as_rgb_takes_pictures_of_any_size_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "LONGEST", 4)
    assert as_rgb(Image.new("L", (9, 5))).size == (9, 5)


def test_sixteen_bits_and_numbers_become_the_nearest_of_eight_bits() -> None:
    levels = np.arange(0, 65536, 97).reshape(26, 26)
    expected = np.rint(levels / 257).astype(np.uint8)
    for image in (Image.fromarray(levels.astype(np.uint16)), Image.fromarray((levels / 65535).astype(np.float32))):
        for channel in as_rgb(image).split():
            assert np.array_equal(np.asarray(channel), expected)
