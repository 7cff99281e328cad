"""HTML of results for notebooks. All text is escaped. The HTML contains all images."""

import base64
import io
from collections.abc import Iterable, Mapping
from html import escape

from PIL import Image

_CELL = "margin:0 8px 8px 0;display:inline-block;vertical-align:top;max-width:240px"


def figures(images: Iterable[tuple[Image.Image, str]]) -> str:
    """Return images with captions below them, in a row that wraps."""
    cells = (
        f'<figure style="{_CELL}"><img src="{data_uri(image)}" alt="{escape(caption)}" style="max-width:100%">'
        f"<figcaption>{escape(caption).replace(chr(10), '<br>')}</figcaption></figure>"
        for image, caption in images
    )
    return f"<div>{''.join(cells)}</div>"


def data_uri(image: Image.Image) -> str:
    """Return an image as an address that contains the image, in WebP."""
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=90)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table of text."""
    head = "".join(f"<th>{escape(str(cell))}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{f'<tr>{head}</tr>' if head else ''}{body}</table>"


def facts(title: str, values: Mapping[str, object]) -> str:
    """Return a title and a table of names and values."""
    return f"<div><b>{escape(title)}</b>{table((), values.items())}</div>"
