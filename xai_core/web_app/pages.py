"""HTML of the results: predictions, maps, attention and messages. All text is escaped."""

from collections.abc import Iterable, Mapping
from html import escape

from PIL.Image import Image

from xai_core.html import data_uri
from xai_core.saliency import Saliency
from xai_core.segments import Segment
from xai_core.web_app.photo_maps import PhotoMaps

LONGEST = 1024
"""Longer side of images in the page, in pixels. The download contains the maps at full size."""
SHOWN = 5
"""The number of detections or regions with a bar."""
START = '<p class="xai-empty">Drop a photo on the left, or paste one, to see where the model looks.</p>'


def predictions_html(explained: PhotoMaps) -> str:
    """Return the classes or the detections with the highest scores, or the largest regions, as bars."""
    if explained.logit is not None:
        return note_html(f"Logit of the text: {explained.logit:.2f}")
    shown = _scores(explained)
    if not shown:
        return ""
    rows = "".join(
        f'<li><span title="{escape(name)}">{escape(name)}</span>'
        f'<span class="xai-bar"><i style="width:{100 * value:.1f}%"></i></span><b>{100 * value:.1f}%</b></li>'
        for name, value in shown
    )
    return f'<ol class="xai-predictions">{rows}</ol>'


def _scores(explained: PhotoMaps) -> list[tuple[str, float]]:
    """Return names with probabilities of classes or detections, or with the fractions of pixels of regions."""
    predictions = explained.predictions
    if predictions is None:
        found = explained.found[:SHOWN]
        return [(each.name, each.share if isinstance(each, Segment) else each.score) for each in found]
    return [*zip(predictions.names[0], predictions.probabilities[0].tolist(), strict=True)]


def maps_html(explained: PhotoMaps) -> str:
    """Return the photo and its maps side by side.

    Each map lies over the photo at full opacity. The style sheet sets the opacity of the map to the value of the
    slider. This is exact, because the blend of `Saliency.overlay` is linear in `alpha`.
    """
    shown = _small(explained.shown)
    photo = data_uri(shown)
    caption = next((_caption(saliency) for saliency in explained.maps.values()), "")
    cards = [_card(photo, "", "photo", caption)]
    for method, saliency in explained.maps.items():
        note = "constant map: the method found no evidence" if bool(saliency.constant.any()) else ""
        cards.append(_card(photo, data_uri(saliency.overlay(shown, alpha=1.0)), method, note))
    cards += [_pending(method, shown) for method in explained.pending]
    return f'<div class="xai-maps">{"".join(cards)}</div>{failures_html(explained.failures)}'


def heads_html(heads: Iterable[tuple[Image, str, str]], title: str) -> str:
    """Return a panel for each attention head: its image, name and caption."""
    cards = "".join(_card(data_uri(_small(image)), "", name, caption) for image, name, caption in heads)
    return f'<p class="xai-note">{escape(title)}</p><div class="xai-maps xai-heads">{cards}</div>'


def failures_html(failures: Mapping[str, str]) -> str:
    """Return a message for each method that failed."""
    return "".join(error_html(f"{method}: {message}") for method, message in failures.items())


def error_html(message: str) -> str:
    """Return an error message."""
    return f'<p class="xai-error" role="alert">{escape(message)}</p>' if message else ""


def note_html(message: str) -> str:
    """Return a note."""
    return f'<p class="xai-note">{escape(message)}</p>' if message else ""


def _card(photo: str, overlay: str, name: str, caption: str) -> str:
    alt = escape(f"{name}: {caption}" if caption else name)
    upper = f'<img class="xai-overlay" src="{overlay}" alt="">' if overlay else ""
    return (
        f'<figure class="xai-card"><button type="button" class="xai-enlarge" aria-label="Enlarge {escape(name)}">'
        f'<span class="xai-stack"><img src="{photo}" alt="{alt}">{upper}</span></button>'
        f"<figcaption><b>{escape(name)}</b>{_lines(caption)}</figcaption></figure>"
    )


def _pending(method: str, shown: Image) -> str:
    ratio = f"{shown.width}/{shown.height}"
    return (
        f'<figure class="xai-card xai-pending"><span class="xai-stack" style="aspect-ratio:{ratio}"></span>'
        f"<figcaption><b>{escape(method)}</b><span>computing&hellip;</span></figcaption></figure>"
    )


def _lines(caption: str) -> str:
    return "".join(f"<span>{escape(line)}</span>" for line in caption.splitlines())


def _caption(saliency: Saliency) -> str:
    return "" if saliency.view is None or isinstance(saliency.target, tuple) else _explained(saliency)


def _explained(saliency: Saliency) -> str:
    assert saliency.view is not None
    assert not isinstance(saliency.target, tuple)
    return saliency.view.caption(0, saliency.target)


def _small(image: Image) -> Image:
    small = image.copy()
    small.thumbnail((LONGEST, LONGEST))
    return small
