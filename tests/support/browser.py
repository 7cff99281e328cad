"""Debian's Chromium, driven by Playwright. No browser is downloaded."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium")
MISSING = "needs Chromium: run `apt-get install chromium`"


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    playwright = pytest.importorskip("playwright.sync_api", reason="the browser is driven by Playwright")
    if CHROMIUM is None:
        pytest.skip(MISSING)
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: "Browser", address: str, scheme: str, width: int) -> "Iterator[Page]":
    """Open a page, which reports no error and requests nothing from other hosts."""
    errors: list[str] = []
    requests: list[str] = []
    context: Any = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    page: Page = context.new_page()
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(address)
    yield page
    context.close()
    assert errors == []
    assert requests
    assert [url for url in requests if not re.match(r"http://127\.0\.0\.1[:/]|file:|data:|blob:", url)] == []


def contrast(page: "Page", element: str) -> int:
    """Return the brightness of the page minus that of the text of an element, each from 0 to 765."""
    back, text = page.evaluate(
        "(element) => [[document.body, 'backgroundColor'], [document.querySelector(element), 'color']].map("
        "([each, name]) => getComputedStyle(each)[name].match(/\\d+/g).slice(0, 3)"
        ".reduce((sum, value) => sum + Number(value), 0))",
        element,
    )
    return int(back - text)


def page_height(browser: "Browser", path: Path) -> int:
    """Return the height of a page in pixels, in a window 1400 pixels wide."""
    with opened(browser, path.as_uri(), "light", 1400) as page:
        return int(page.evaluate("document.documentElement.scrollHeight"))
