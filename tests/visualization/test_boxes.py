"""The box of an explained detection is drawn where it is in the photo."""

import numpy as np
import torch
from PIL import Image

import xai_core as xai
from support.detectors import AnchorDetector
from xai_core.visualization.overlays import with_box
from xai_core.visualization.placement import Placement


def test_boxes_are_converted_between_the_photo_and_the_input() -> None:
    placement = Placement(10, 20, 110, 220)
    assert placement.in_photo((0, 0, 64, 32), (32, 64)) == (10, 20, 110, 220)
    assert placement.in_photo((16, 8, 32, 16), (32, 64)) == (35, 70, 60, 120)
    assert placement.in_input((35, 70, 60, 120), (32, 64)) == (16, 8, 32, 16)


def test_the_outline_of_a_box_surrounds_its_pixels() -> None:
    drawn = np.asarray(with_box(Image.new("RGB", (20, 16)), (3, 4, 10, 12))).any(2)
    expected = np.zeros((16, 20), bool)
    expected[4:12, 3:10] = True
    expected[5:11, 4:9] = False
    assert np.array_equal(drawn, expected)
    dot = np.asarray(with_box(Image.new("RGB", (20, 16)), (3, 4, 3, 1))).any(2)
    assert dot[4, 3]


def test_overlays_show_the_explained_box() -> None:
    images = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    engine = xai.Engine(AnchorDetector().eval())
    maps = engine.explain(images, "center", xai.Box([8, 8, 40, 48], overlap=0))["center"]
    plain = engine.explain(images, "center", lambda output: output[:, 4].sum(1))["center"].overlay(alpha=0)
    different = np.asarray(maps.overlay(alpha=0)) != np.asarray(plain)
    rows, columns = different.any(2).nonzero()
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 47, 8, 39)
