"""The page of the app in a browser at two sizes and in two color schemes, and the uploads of its server."""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from filelock import FileLock
from PIL import Image

from support.app_models import HOSTILE, saved_photo, saved_scene
from support.app_server import MAX_UPLOAD, app_server
from support.browser import contrast, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

TIMEOUT = 60_000
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def address(uploads: Path) -> Iterator[str]:
    """Start the app, which deletes all uploads when it ends."""
    pytest.importorskip("gradio", reason="the app requires Gradio")
    with app_server(uploads) as address:
        yield address
    assert not [each for each in uploads.rglob("*") if each.is_file()]


@pytest.fixture(autouse=True)
def _one_at_a_time(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let the processes that run tests take turns, because every page keeps several processes busy."""
    with FileLock(tmp_path_factory.getbasetemp().parent / "browser.lock"):
        yield


class Visit:
    """A user of the page."""

    def __init__(self, browser: "Browser", address: str, scheme: str = "light", width: int = 1400) -> None:
        self._opened = opened(browser, address, scheme, width)

    def __enter__(self) -> "Visit":
        self.page: Page = self._opened.__enter__()
        self.page.set_default_timeout(TIMEOUT)
        self.page.wait_for_selector("#xai-photo input[type=file]", state="attached")
        return self

    def __exit__(self, *error: Any) -> None:
        self._opened.__exit__(*error)

    def upload(self, photo: Path) -> None:
        self.page.set_input_files("#xai-photo input[type=file]", photo)

    def wait_for_maps(self, count: int) -> None:
        self.page.wait_for_function(
            "count => document.querySelectorAll('#xai-maps .xai-overlay').length === count"
            " && !document.querySelector('#xai-maps .xai-pending')",
            arg=count,
        )

    def wait_for_curves(self, count: int) -> None:
        self.page.wait_for_function(
            "count => document.querySelectorAll('#xai-curves polyline').length === count", arg=count
        )

    def choose(self, dropdown: str, option: str | re.Pattern[str]) -> None:
        self.page.locator(f"#{dropdown} input").click()
        self.page.get_by_role("option", name=option).first.click()


def test_uploads_are_bounded_and_nothing_is_public(address: str, uploads: Path, tmp_path: Path) -> None:
    import httpx

    photo = saved_photo(tmp_path).read_bytes()
    uploaded = httpx.post(f"{address}gradio_api/upload", files={"files": ("photo.png", photo)})
    [path] = uploaded.json()
    assert Path(path).is_relative_to(uploads)
    assert Path(path).read_bytes() == photo
    large = httpx.post(f"{address}gradio_api/upload", files={"files": ("large.png", bytes(MAX_UPLOAD + 1))})
    assert large.status_code == 413
    config = httpx.get(f"{address}config").json()
    assert config["analytics_enabled"] is False
    assert httpx.get(f"{address}gradio_api/info").json()["named_endpoints"] == {}
    assert "googleapis" not in httpx.get(f"{address}theme.css").text


def test_a_user_explains_a_photo(browser: "Browser", address: str, tmp_path: Path) -> None:
    with Visit(browser, address) as visit:
        page = visit.page
        visit.upload(saved_photo(tmp_path))
        visit.wait_for_maps(3)
        visit.wait_for_curves(6)

        page.locator("#xai-maps .xai-enlarge").nth(1).click()
        box = page.locator("dialog[open] .xai-overlay").bounding_box()
        assert box is not None
        assert box["width"] > 400
        with Image.open(saved_photo(tmp_path)) as photo:
            assert box["width"] / box["height"] == pytest.approx(photo.width / photo.height, rel=0.01)
        page.keyboard.press("Escape")
        page.locator("dialog").wait_for(state="detached")

        page.locator("#xai-opacity input[type=number]").fill("0.25")
        page.keyboard.press("Enter")
        page.wait_for_function("getComputedStyle(document.querySelector('.xai-overlay')).opacity === '0.25'")

        visit.choose("xai-methods", re.compile("^eigen-cam$"))
        visit.wait_for_maps(4)
        visit.wait_for_curves(8)
        with page.expect_download() as download:
            page.locator("#xai-download").click()
        with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as file:
            assert "eigen-cam.npy" in file.namelist()


def test_class_names_are_shown_as_text(browser: "Browser", address: str, tmp_path: Path) -> None:
    with Visit(browser, address) as visit:
        visit.upload(saved_photo(tmp_path))
        visit.wait_for_maps(3)
        names = visit.page.locator("#xai-predictions li > span:first-child").all_inner_texts()
        assert names[1].startswith(HOSTILE)
        visit.choose("xai-class", re.compile(f"onerror.* {names[1].split()[-1]}$"))
        caption = visit.page.locator("#xai-maps figcaption").first
        caption.get_by_text("predicted: <img").wait_for()
        assert names[1] in caption.inner_text()
        assert visit.page.locator("img[src=x]").count() == 0
        assert visit.page.title() == "xai-core"


def test_the_heads_of_a_transformer_are_shown(browser: "Browser", address: str, tmp_path: Path) -> None:
    with Visit(browser, address) as visit:
        visit.upload(saved_photo(tmp_path))
        visit.wait_for_maps(3)
        visit.choose("xai-model", "vit")
        visit.page.get_by_role("tab", name="Attention").click()
        visit.page.wait_for_selector("#xai-heads .xai-card")
        assert "attention of token 0" in visit.page.locator("#xai-heads").inner_text()


def test_the_detections_in_a_photo_can_be_chosen(browser: "Browser", address: str, tmp_path: Path) -> None:
    with Visit(browser, address) as visit:
        visit.choose("xai-model", "detector")
        visit.upload(saved_scene(tmp_path, 8, 3, 25, 10))
        visit.wait_for_maps(3)
        caption = visit.page.locator("#xai-maps figcaption").first
        caption.get_by_text("cross 0.94").wait_for()
        visit.wait_for_curves(6)
        visit.choose("xai-class", re.compile("^star 0.84 at "))
        caption.get_by_text("star 0.84").wait_for()
        visit.wait_for_maps(3)
        visit.wait_for_curves(6)
        assert visit.page.locator("#xai-class input").input_value().startswith("star 0.84 at ")


def test_the_regions_of_a_photo_can_be_chosen(browser: "Browser", address: str, tmp_path: Path) -> None:
    with Visit(browser, address) as visit:
        visit.choose("xai-model", "segmenter")
        visit.upload(saved_scene(tmp_path, 8, 3, 25, 10))
        visit.wait_for_maps(3)
        visit.page.get_by_label("Region").click()
        options = visit.page.get_by_role("option").all_inner_texts()
        assert options[0].endswith("Largest region")
        assert options[-1].startswith("background ")
        name = options[2].split()[0]
        visit.page.get_by_role("option", name=name).first.click()
        visit.page.locator("#xai-maps figcaption").first.get_by_text(f"region of {name}").wait_for()
        visit.wait_for_maps(3)


def test_a_text_is_explained_when_enter_is_pressed(browser: "Browser", address: str, tmp_path: Path) -> None:
    with Visit(browser, address) as visit:
        assert visit.page.get_by_label("Text", exact=True).count() == 0
        visit.choose("xai-model", "texts")
        visit.upload(saved_scene(tmp_path, 8, 3, 25, 10))
        visit.page.get_by_text("Write a text about the photo, and press Enter.").wait_for()
        visit.page.get_by_label("Text", exact=True).fill("a red star")
        visit.page.keyboard.press("Enter")
        visit.wait_for_maps(3)
        visit.page.get_by_text("Logit of the text: ").wait_for()
        assert visit.page.locator("#xai-class").count() == 0
        visit.wait_for_curves(6)


def test_a_file_that_is_no_image_is_an_error_in_plain_words(browser: "Browser", address: str, tmp_path: Path) -> None:
    with Visit(browser, address) as visit:
        broken = tmp_path / "notes.png"
        broken.write_text("not an image")
        visit.upload(broken)
        visit.page.get_by_text("notes.png cannot be read as an image").wait_for()


def test_two_users_see_their_own_photos(browser: "Browser", address: str, tmp_path: Path) -> None:
    with Visit(browser, address) as first, Visit(browser, address) as second:
        first.upload(saved_photo(tmp_path))
        second.choose("xai-model", "vit")
        second.upload(saved_photo(tmp_path))
        for visit in (first, second):
            visit.wait_for_maps(3)
            visit.wait_for_curves(6)
        assert HOSTILE in first.page.locator("#xai-predictions").inner_text()
        assert HOSTILE not in second.page.locator("#xai-predictions").inner_text()


def test_a_model_that_is_chosen_before_a_photo_keeps_the_start_page(browser: "Browser", address: str) -> None:
    with Visit(browser, address) as visit:
        attention = '"data":[null,"vit","'  # requested after the maps
        with visit.page.expect_request(lambda request: attention in (request.post_data or "")):
            visit.choose("xai-model", "vit")
        visit.page.evaluate("new Promise(requestAnimationFrame)")
        assert "Drop a photo" in visit.page.locator("#xai-maps").inner_text()


@pytest.mark.parametrize(("width", "scheme"), [(1400, "light"), (390, "dark")])
def test_the_page_fits_the_screen_and_the_color_scheme(
    browser: "Browser", address: str, tmp_path: Path, width: int, scheme: str
) -> None:
    with Visit(browser, address, scheme, width) as visit:
        visit.upload(saved_photo(tmp_path))
        visit.wait_for_maps(3)
        visit.wait_for_curves(6)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        difference = contrast(visit.page, "#xai-maps figcaption b")
        assert (difference > 0) == (scheme == "light")
        assert abs(difference) > 400, "the text is hard to read"
