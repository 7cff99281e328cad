"""The page of a demonstration of all methods and all its images is small, and short enough to scroll."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_tensor

from support import tiny_models
from support.browser import browser as browser
from support.browser import opened, page_height
from support.command_line import Run
from support.demo_limits import MOST_BYTES, MOST_PIXELS
from support.tiny_models import register
from xai_core.cli.actions import demo, demonstration, heads_demonstration

if TYPE_CHECKING:
    from playwright.sync_api import Browser


IMAGES = 2
"""Images of each model that the demonstration shows by default."""


def as_large(image: Image.Image | Tensor) -> Tensor:
    return (image if isinstance(image, Tensor) else to_tensor(image.resize((224, 224)))) * 2 - 1


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of one image of each model, with a tiny model in place of the large ones. Photos have 224x224 pixels."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        register(patch)
        patch.setattr(tiny_models, "preprocess", as_large)
        patch.chdir(folder)
        patch.setattr(demo, "SHOWN", [("tiny:cnn", demo.SHOWN[0][1]), *demo.SHOWN[1:]])
        patch.setattr(heads_demonstration, "MODEL", demo.SHOWN[1][0])
        patch.setattr(demonstration, "STEPS", 2)  # the page shows a score, whatever the number of forward passes
        run = Run("demo", "--limit", 1)
    assert run.code == 0, run.out + run.err
    return folder / "xai-demo" / "index.html"


@pytest.mark.slow
def test_its_size_is_limited(page: Path) -> None:
    assert MOST_BYTES / 10 < IMAGES * page.stat().st_size < MOST_BYTES


@pytest.mark.slow
def test_its_height_is_limited(page: Path, browser: "Browser") -> None:
    """The last section shows attention heads of one image."""
    with opened(browser, page.as_uri(), "light", 1400) as shown:
        heights = "[...document.querySelectorAll('section:not(:last-of-type) article')].map(each => each.offsetHeight)"
        rows = sum(shown.evaluate(heights))
    assert MOST_PIXELS / 2 < page_height(browser, page) + (IMAGES - 1) * rows < MOST_PIXELS
