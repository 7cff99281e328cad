"""HTML pages of maps, which load nothing from other hosts: the report of `xai demo`, and the page of `xai explain`."""

import base64
import functools
from collections.abc import Mapping, Sequence
from urllib.parse import quote

import jinja2
from PIL import Image

from xai_core.files import encodable
from xai_core.report.method_groups import GROUPS
from xai_core.report.page_content import PageImage, PageSection
from xai_core.visualization.encoding import encode

LEAD = (
    "Colors show how much each pixel contributes to the class according to a method, from transparent (none) to yellow "
    "(highest). They saturate at the 99th percentile. Controls do not depend on the model. Click a map to compare it "
    "with the image."
)
QUALITY = 80
"""Quality of the WebP images of a page, out of 100."""
PREVIEW = 640
"""Largest side of an image of a page in pixels."""


def render(title: str, lead: str, sections: Sequence[PageSection], about: Mapping[str, str]) -> str:
    """Return the HTML of a page.

    Parameters
    ----------
    title
        Heading of the page.
    lead
        Sentences below the heading.
    sections
        Results of each model, at least one.
    about
        Everything that the results depend on, by name: versions, device, command, date.
    """
    return encodable(_template().render(title=title, lead=lead, sections=sections, about=about, groups=GROUPS))


@functools.cache
def _template() -> jinja2.Template:
    """Return the compiled template of the page."""
    loader = jinja2.PackageLoader("xai_core.report", ".")
    page = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page.filters["link"] = link
    return page.get_template("page.html.j2")


def embedded(image: Image.Image, file: str) -> PageImage:
    """Return an image of a page whose source is the image itself, as WebP in a data URI.

    Parameters
    ----------
    image
        The image.
    file
        Path of the image in full size, relative to the page.
    """
    data = base64.b64encode(webp(image)).decode()
    return PageImage(f"data:image/webp;base64,{data}", file, *image.size)


def webp(image: Image.Image) -> bytes:
    """Encode an image of a page as WebP."""
    return encode(image, "WEBP", QUALITY)


def preview(image: Image.Image) -> Image.Image:
    """Return an image that fits into a square of `PREVIEW` pixels."""
    small = image.convert("RGB")
    small.thumbnail((PREVIEW, PREVIEW))
    return small


def link(path: str) -> str:
    """Return a relative URL of a file, in which every character that has a meaning in URLs is escaped."""
    return path if path.startswith("data:image/webp;base64,") else "./" + quote(path)
