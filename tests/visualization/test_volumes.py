"""Maps of volumes are drawn as rows of slices with one scale of colors, and saved as animations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import xai_core as xai
from support.volume_models import SIZE, SmallCNN3d, built, two_clips
from xai_core.errors import InputShapeError, OptionError, UnsuitableError
from xai_core.visualization.slices import shown_slices

CLASS = 2


@pytest.fixture(scope="module")
def maps() -> xai.Saliency:
    return xai.Engine(built(SmallCNN3d)).explain(two_clips(), "grad-cam", CLASS)["grad-cam"]


def test_an_overlay_shows_each_slice(maps: xai.Saliency) -> None:
    row = maps[0].overlay(alpha=0)
    assert row.size == (8 * 34 - 2, 32)
    clip = two_clips()[0]
    stretched = (clip - clip.min()) / (clip.max() - clip.min())
    for number in range(8):
        pixels = np.asarray(row)[:, number * 34 : number * 34 + 32]
        expected = (stretched[:, number] * 255).round().permute(1, 2, 0).numpy()
        assert np.abs(pixels - expected).max() <= 1


def test_all_slices_have_the_same_scale(maps: xai.Saliency) -> None:
    """The color of a voxel depends on its own value and on the whole map, not on its slice."""
    values = torch.zeros(1, *SIZE)
    values[0, 0, 0, 0], values[0, 1], values[0, 2, :16] = 0.5, 0.5, 1
    own = maps[0]
    assert own.view is not None
    black = replace(own.view, images=torch.zeros_like(own.view.images))
    colored = np.asarray(replace(own, values=values, raw=values, view=black).overlay(alpha=1))
    assert (colored[0, 0] == colored[20, 34 + 20]).all()  # both are 0.5
    assert (colored[0, 0] != colored[0, 68]).any()  # 0.5 and 1
    assert (colored[20, 68 + 20] == 0).all()  # zero is transparent


def test_long_clips_are_shown_as_eight_frames() -> None:
    assert shown_slices(5) == [0, 1, 2, 3, 4]
    assert shown_slices(15) == [0, 2, 4, 6, 8, 10, 12, 14]


@pytest.mark.parametrize("name", ["map.gif", "map.webp"])
def test_an_animation_has_all_frames(maps: xai.Saliency, tmp_path: Path, name: str) -> None:
    maps.animate(tmp_path / name, seconds=1.6)
    with Image.open(tmp_path / name) as animation:
        assert animation.n_frames == 8
        assert animation.info["loop"] == 0
        for number in range(8):
            animation.seek(number)
            frame = np.asarray(animation.convert("RGB")).astype(float)
            assert frame.shape == (32, 66, 3)
            assert animation.info["duration"] == pytest.approx(200, abs=10)
            expected = np.asarray(maps[0].overlay())[:, number * 34 : number * 34 + 32]
            assert np.abs(frame[:, :32] - expected).mean() < 30


def test_figures_of_volumes_are_drawn(maps: xai.Saliency, tmp_path: Path) -> None:
    maps.save(tmp_path / "maps.png")
    maps.save(tmp_path / "maps.pdf")
    maps[0].plot()
    figure = xai.draw(two_clips(), {"ours": maps, "theirs": maps.values})
    assert len(figure.axes) == 2 * 3
    assert "<img" in str(maps._repr_html_())


def test_what_cannot_be_drawn_is_rejected(maps: xai.Saliency, tmp_path: Path) -> None:
    with pytest.raises(InputShapeError, match="pass no photos"):
        maps.overlay([Image.new("RGB", (32, 32))] * 2)
    with pytest.raises(OptionError, match=r"expected a name with \.gif or \.webp"):
        maps.animate(tmp_path / "maps.mp4")
    with pytest.raises(OptionError, match="seconds must be a positive number"):
        maps.animate(tmp_path / "maps.gif", seconds=0)
    still = xai.Saliency(torch.rand(1, 4, 4), torch.rand(1, 4, 4), torch.tensor([False]), maps[0].target)
    with pytest.raises(UnsuitableError, match="only maps of volumes and clips can be animated"):
        still.animate(tmp_path / "maps.gif")
