"""Volumes as rows of slices, and as animations. A slice of a clip is a frame."""

import io
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image

from xai_core.errors import OptionError
from xai_core.files import write_file

MOST = 8
"""Largest number of slices in a row."""
ANIMATIONS = {".gif": "GIF", ".webp": "WEBP"}


def shown_slices(depth: int, most: int = MOST) -> list[int]:
    """Return the indices of the slices that are shown: all of them, or `most` of them at equal distances."""
    return torch.linspace(0, depth - 1, min(depth, most)).round().int().tolist()


def in_a_row(slices: Sequence[Image.Image], gap: int = 2) -> Image.Image:
    """Join slices in a row, with white gaps of `gap` pixels."""
    width, height = slices[0].width + gap, slices[0].height
    row = Image.new("RGB", (width * len(slices) - gap, height), "white")
    for number, image in enumerate(slices):
        row.paste(image.convert("RGB"), (number * width, 0))
    return row


def save_animation(path: str | Path, frames: Sequence[Image.Image], seconds: float) -> None:
    """Save frames as an animation that repeats, in the format of the extension: gif or webp.

    Raises
    ------
    OptionError
        If the extension is another one, or the duration is not positive.
    FileError
        If the file cannot be written.
    """
    kind = Path(path).suffix.lower()
    if kind not in ANIMATIONS:
        raise OptionError(f"cannot save an animation as {Path(path).name!r}; expected a name with .gif or .webp")
    if not seconds > 0:
        raise OptionError(f"seconds must be a positive number, got {seconds!r}")
    buffer = io.BytesIO()
    first, *others = frames
    duration = round(1000 * seconds / len(frames))
    first.save(buffer, ANIMATIONS[kind], save_all=True, append_images=others, duration=max(duration, 1), loop=0)
    write_file(Path(path), buffer.getvalue())
