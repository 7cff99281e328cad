"""The page in a browser: it fits a phone, filters, sorts and enlarges."""

import html
import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from support.browser import CHROMIUM, MISSING, contrast, opened
from xai_core.report.mean_scores import MeanScores
from xai_core.report.method_groups import GROUPS
from xai_core.report.page import embedded, render
from xai_core.report.page_content import PageMap, PagePhoto, PageSection
from xai_core.report.results import MapScore

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FRAME = """<script>addEventListener("message", event => { document.title = event.data; });</script>
<iframe src="page.html" width="390" height="800"></iframe>"""

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason=MISSING)]


@pytest.fixture
def page() -> str:
    image = embedded(Image.new("RGB", (224, 224), (120, 120, 120)), "photo.png")
    scores = {"cam": 0.2, "grad-cam": 0.4, "layer-cam": 0.3}
    maps = [PageMap(f"{name}:layer={'x' * 60}", "one pass", image, (), {"insertion": scores[name]}) for name in scores]
    controls = [PageMap("random", "controls", image, ["constant map"])]
    photo = PagePhoto("a" * 90, image, {"predicted": "b" * 90}, [*maps, *controls], image)
    rows = [
        MeanScores(each.method, each.group, {"insertion": MapScore(scores[name], True)}, 1)
        for name, each in zip(scores, maps, strict=True)
    ]
    section = PageSection("c" * 90, [photo] * 2, {"insertion": True}, rows, {"rise" * 40: "too slow"})
    return render("Maps", "How to read them.", [section], {"Command": "xai " * 90})


def in_browser(folder: Path, page: str, script: str) -> Any:
    """Return what a JavaScript expression is on the page, in a frame as wide as a phone."""
    probe = f"<script>parent.postMessage(JSON.stringify((() => {{ {script} }})()), '*')</script></body>"
    (folder / "page.html").write_text(page.replace("</body>", probe))
    (folder / "frame.html").write_text(FRAME)
    assert CHROMIUM is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", f"--user-data-dir={folder}"]
    command = [CHROMIUM, *options, "--dump-dom", (folder / "frame.html").as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    [title] = re.findall("<title>(.*)</title>", dom)
    return json.loads(title.replace("&amp;", "&"))


def test_nothing_is_wider_than_a_phone(page: str, tmp_path: Path) -> None:
    script = """
      for (const each of document.querySelectorAll("details")) each.open = true;
      const root = document.documentElement;
      return [root.scrollWidth <= root.clientWidth, root.clientWidth <= 390];"""
    assert in_browser(tmp_path, page, script) == [True, True]


def test_maps_are_filtered_and_sorted(page: str, tmp_path: Path) -> None:
    script = """
      const shown = () => [...document.querySelectorAll(".photo")].map((photo) =>
        [...photo.querySelectorAll("figure")].filter((map) => map.offsetParent).map((map) => map.dataset.method));
      const set = (name, value) => {
        form[name].value = value;
        form.dispatchEvent(new Event("input"));
        return shown()[1];
      };
      const states = [shown()[1], set("sort", "insertion"), set("method_text", "GRAD")];
      set("method_text", "");
      form.querySelector("[value='one pass']").click();
      return [...states, shown()[1]].map((names) => names.map((name) => name.split(":")[0]));"""
    assert in_browser(tmp_path, page, script) == [
        ["cam", "grad-cam", "layer-cam", "random"],
        ["grad-cam", "layer-cam", "cam", "random"],
        ["grad-cam"],
        ["random"],
    ]


def test_a_click_enlarges_a_map_over_its_photo(page: str, tmp_path: Path) -> None:
    script = """
      document.querySelectorAll("a.map")[2].click();
      const first = [dialog.open, one("#caption").textContent.split(":")[0]];
      one("#opacity").value = 0.25;
      one("#opacity").dispatchEvent(new Event("input"));
      one("#next").click();
      return [...first, one("#overlay").style.opacity, one("#caption").textContent.split(" ")[0],
        one("#original").src === document.querySelector(".photo img").src];"""
    assert in_browser(tmp_path, page, script) == [True, "layer-cam", "0.25", "random", True]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_a_reader_sees_every_map(browser: "Browser", page: str, tmp_path: Path, scheme: str, width: int) -> None:
    evil = "<img src=x onerror=alert(1)>"
    (tmp_path / "page.html").write_text(page.replace("<h3>" + "a" * 90, "<h3>" + html.escape(evil)))
    with opened(browser, (tmp_path / "page.html").as_uri(), scheme, width) as shown:
        assert shown.evaluate("document.documentElement.scrollWidth") <= width
        assert shown.locator("h3").first.inner_text() == evil
        assert (contrast(shown, "h3") > 400) == (scheme == "light")
        shown.locator("a.map").first.click()
        enlarged = shown.locator("dialog[open] #overlay").bounding_box()
        assert enlarged is not None
        assert enlarged["width"] == pytest.approx(enlarged["height"], rel=0.02)
        assert enlarged["width"] > 300
        assert shown.locator("dialog").evaluate("(dialog) => dialog.scrollWidth <= dialog.clientWidth")
        shown.keyboard.press("Escape")
        shown.locator("dialog[open]").wait_for(state="detached")


def test_the_page_can_be_read_without_scripts(page: str) -> None:
    without = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert without.count("<figure") == 2 * 4
    assert all(group in GROUPS for group in re.findall(r'class="group" data-group="([^"]*)"', without))
    assert " hidden" not in re.sub(r"<style>.*?</style>", "", without, flags=re.DOTALL)
