"""The page of maps: complete without a network or scripts, grouped, and safe for any name."""

import base64
import io
import re

import pytest
from PIL import Image

from xai_core.report.mean_scores import MeanScores
from xai_core.report.method_groups import GROUPS
from xai_core.report.page import PREVIEW, embedded, link, preview, render
from xai_core.report.page_content import PageImage, PageMap, PagePhoto, PageSection
from xai_core.report.results import MapScore

GREY = Image.new("RGB", (8, 6), (120, 120, 120))
EVIL = '<img src=x onerror="alert(1)">'


def photo(title: str = "cat", methods: str = "grad-cam", evil: str = "") -> PagePhoto:
    maps = [
        PageMap(name + evil, group, embedded(GREY, f"{name}.png"), ["insertion 0.50"], {"insertion": 0.5})
        for name, group in zip(methods.split(), GROUPS, strict=False)
    ]
    return PagePhoto(title, embedded(GREY, "cat.png"), {"predicted": f"tabby{evil} 0.80"}, maps)


def page_of(*photos: PagePhoto, **options: object) -> str:
    section = PageSection("model & such on data", photos, {"insertion": True}, **options)  # type: ignore[arg-type]
    return render("Found", "How to read it.", [section], {"Command": "xai demo"})


def test_the_page_asks_nothing_of_a_network() -> None:
    page = page_of(photo())
    for attribute in ("src", "href"):
        values = re.findall(rf'\s{attribute}="([^"]*)', page)
        assert all(value.startswith(("data:", "./", "#")) for value in values)
    assert not re.search(r"https?:|@import|url\(|<iframe|<object|<script [^>]*src|fetch\(", page)


def test_images_are_webp_and_load_lazily() -> None:
    page = page_of(photo())
    images = re.findall(r"<img [^>]*>", re.sub(r"<dialog.*</dialog>", "", page, flags=re.DOTALL))
    assert len(images) == 2
    for image in images:
        assert 'loading="lazy"' in image
        assert 'width="8" height="6"' in image
        [data] = re.findall(r'src="data:image/webp;base64,([^"]*)"', image)
        decoded = Image.open(io.BytesIO(base64.b64decode(data)))
        assert (decoded.format, decoded.size) == ("WEBP", (8, 6))


def test_names_appear_as_text() -> None:
    skipped = {f"score-cam{EVIL}": f"it needs {EVIL}"}
    page = page_of(
        photo(EVIL, evil=EVIL),
        rows=[MeanScores(EVIL, "one pass", {"insertion": MapScore(0.5, True)}, 1)],
        skipped=skipped,
    )
    assert "<img src=x" not in page
    assert page.count("&lt;img src=x onerror=&#34;alert(1)&#34;&gt;") >= 8
    attributes = re.sub(r'="[^"]*"', "", re.sub(r"<script>.*</script>", "", page, flags=re.DOTALL))
    assert not re.search(r"<[^>]*\sonerror", attributes)


def test_links_to_files_keep_every_name() -> None:
    assert link("a b/ü%#?\"'.png") == "./a%20b/%C3%BC%25%23%3F%22%27.png"
    assert link("javascript:alert(1)") == "./javascript%3Aalert%281%29"
    assert link("data:text/html,x") == "./data%3Atext/html%2Cx"


def test_methods_are_grouped_and_controls_are_labeled() -> None:
    page = page_of(photo(methods="cam rise rollout random"))
    groups = re.findall(r'<div class="group" data-group="([^"]*)">.*?data-method="([^"]*)"', page, re.DOTALL)
    assert groups == [("one pass", "cam"), ("many passes", "rise"), ("attention", "rollout"), ("controls", "random")]
    assert "random · cat · control · " in page
    assert "best" not in re.sub(r'"data:[^"]*"', "", page)


def test_the_contents_list_every_photo() -> None:
    page = page_of(photo(), photo("dog"))
    nav = page[page.index("<nav>") : page.index("</nav>")]
    anchors = re.findall(r'href="#([^"]*)"', nav)
    assert len(anchors) == 3
    assert all(f'id="{anchor}"' in page for anchor in anchors)


def test_skipped_methods_and_scores_are_folded_away() -> None:
    page = page_of(
        photo(),
        rows=[MeanScores("cam", "one pass", {"insertion": MapScore(0.5, True)}, 1)],
        skipped={"rise": "too slow"},
    )
    assert re.search(r"<details><summary>Skipped methods</summary>.*too slow.*</details>", page, re.DOTALL)
    assert re.search(r"<details><summary>Mean scores over 1 image, .*0\.500.*</details>", page, re.DOTALL)
    assert "higher is better" in page


def test_parts_and_the_ground_truth_are_shown_if_there_are_any() -> None:
    plain = photo()
    parts = PageMap("head-attention", "attention", plain.image, parts=embedded(GREY, "p.png"), part_count=3)
    full = PagePhoto("cat", plain.image, {}, [parts], embedded(GREY, "truth.png"))
    assert "3 parts of the map" in page_of(full)
    assert "Ground-truth mask of cat" in page_of(full)
    assert "Ground-truth" not in page_of(plain)
    assert "parts of the map" not in page_of(plain)


@pytest.mark.parametrize(("size", "fitted"), [((1280, 320), (640, 160)), ((20, 10), (20, 10))])
def test_previews_fit_and_are_never_enlarged(size: tuple[int, int], fitted: tuple[int, int]) -> None:
    assert preview(Image.new("RGBA", size)).size == fitted
    assert max(fitted) <= PREVIEW


def test_a_lone_surrogate_in_a_name_can_be_written() -> None:
    page_of(PagePhoto("\udce9", PageImage("a.webp", "a.png", 1, 1), {}, [])).encode()
