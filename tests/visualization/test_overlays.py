"""Overlays: the colors of maps on photos, compared with matplotlib's color maps."""

import matplotlib
import numpy as np
import pytest
import torch
from PIL import Image

from xai_core.errors import OptionError
from xai_core.visualization import colors
from xai_core.visualization.overlays import overlay
from xai_core.visualization.placement import Placement

PHOTO = Image.new("RGB", (20, 10), (60, 120, 180))
RAMP = torch.linspace(0, 1, 200).view(10, 20)


def blended(cmap: str, position: float, opacity: float) -> np.ndarray:
    color = 255 * np.array(matplotlib.colormaps[cmap](position)[:3])
    return (1 - opacity) * np.array([60, 120, 180]) + opacity * color


def test_the_color_and_the_opacity_follow_the_saliency() -> None:
    colored = np.asarray(overlay(PHOTO, RAMP), dtype=float)
    limit = np.quantile(RAMP.numpy(), 0.99)
    for row, column in ((0, 0), (4, 7), (9, 19)):
        value = min(float(RAMP[row, column]) / limit, 1.0)
        np.testing.assert_allclose(colored[row, column], blended("inferno", value, 0.85 * value), atol=2.5)


def test_negative_values_have_a_color_of_their_own() -> None:
    values = torch.zeros(10, 20)
    values[:, :5], values[:, 15:] = -1, 1
    colored = np.asarray(overlay(PHOTO, values, signed=True), dtype=float)
    np.testing.assert_allclose(colored[5, 2], blended("RdBu_r", 0.0, 0.85), atol=1)
    np.testing.assert_allclose(colored[5, 10], (60, 120, 180))
    np.testing.assert_allclose(colored[5, 17], blended("RdBu_r", 1.0, 0.85), atol=1)


def test_the_color_map_and_the_opacity_can_be_chosen() -> None:
    colored = np.asarray(overlay(PHOTO, torch.ones(10, 20), cmap="viridis", alpha=1.0), dtype=float)
    np.testing.assert_allclose(colored[5, 5], blended("viridis", 1.0, 1.0), atol=1)
    assert np.array_equal(np.asarray(overlay(PHOTO, RAMP, alpha=0)), np.asarray(PHOTO))


def test_large_photos_are_blended_in_blocks_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.asarray(overlay(PHOTO, RAMP))
    monkeypatch.setattr(colors, "_BLOCK", 45)
    assert np.array_equal(np.asarray(overlay(PHOTO, RAMP)), whole)


def test_contours_lie_where_the_map_crosses_the_level() -> None:
    photo = Image.new("RGB", (200, 100), "black")
    values = torch.linspace(0, 1, 200).expand(100, 200)
    lines = np.asarray(overlay(photo, values, alpha=0, contours=[0.25, 0.5]), dtype=int).sum(-1)
    limit = np.quantile(values.numpy(), 0.99)
    assert [*np.flatnonzero(lines[50] == 765)] == pytest.approx([200 * 0.25 * limit, 200 * 0.5 * limit], abs=2)


def test_outside_of_the_rectangle_the_photo_is_unchanged() -> None:
    colored = np.asarray(overlay(PHOTO, torch.ones(4, 4), placement=Placement(5, 0, 15, 10)))
    assert (colored[:, :5] == (60, 120, 180)).all()
    assert (colored[:, 15:] == (60, 120, 180)).all()
    assert (colored[:, 5:15] != (60, 120, 180)).any(-1).all()


@pytest.mark.parametrize(
    ("style", "message"),
    [
        ({"cmap": "infreno"}, "did you mean 'inferno'"),
        ({"alpha": 2}, r"alpha must be a number in \[0,1\], got 2"),
        ({"contours": 3}, "levels between 0 and 1"),
        ({"contours": "half"}, "levels between 0 and 1"),
    ],
)
def test_invalid_options_are_rejected(style: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        overlay(PHOTO, RAMP, **style)  # type: ignore[arg-type]
