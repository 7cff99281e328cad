"""Photos of every type that users have."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from xai_core.errors import InputRangeError, InputShapeError, InputTypeError, XAIError
from xai_core.visualization.photos import as_photo

PIXELS = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def test_every_type_is_the_same_photo(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    Image.fromarray(PIXELS).save(path)
    tensor = torch.from_numpy(PIXELS).permute(2, 0, 1)
    for photo in (Image.fromarray(PIXELS), path, str(path), PIXELS, PIXELS / 255, tensor, tensor / 255):
        assert np.array_equal(np.asarray(as_photo(photo)), PIXELS)


def test_gray_photos_are_rgb() -> None:
    gray = PIXELS[:, :, 0]
    for photo in (gray, gray[:, :, None], torch.from_numpy(gray)[None]):
        assert np.array_equal(np.asarray(as_photo(photo)), gray[:, :, None].repeat(3, 2))


@pytest.mark.parametrize(
    ("photo", "error", "message"),
    [
        (torch.randn(3, 4, 6), InputRangeError, "leave the photo out"),
        (torch.full((3, 4, 6), torch.nan), InputRangeError, r"\[0,1\]"),
        (torch.rand(5, 4, 6), InputShapeError, r"\[C,H,W\] with 1 or 3 channels, got \[5, 4, 6\]"),
        (np.zeros((4, 6, 2)), InputShapeError, r"\[H,W,3\]"),
        (np.zeros((4, 6), np.int32), InputTypeError, "8-bit"),
        (3, InputTypeError, "got int"),
    ],
)
def test_everything_else_is_rejected(photo: object, error: type[XAIError], message: str) -> None:
    with pytest.raises(error, match=message):
        as_photo(photo)
