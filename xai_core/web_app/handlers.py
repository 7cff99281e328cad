"""Functions of the page: each receives the values of components, and returns HTML. None keeps what is shown.

When a generator ends, Gradio shows its last value once more, and this may happen after a newer request has shown
something else. Therefore the last value of an outdated request is None.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL.Image import Image

from xai_core.data.images import decode_image
from xai_core.errors import FileError
from xai_core.visualization.attention_plot import attention_cells
from xai_core.web_app import choices
from xai_core.web_app.chart import charts
from xai_core.web_app.chosen_model import ChosenModel, Explained
from xai_core.web_app.curves import Curves, compute_curves
from xai_core.web_app.offered_models import OfferedModels
from xai_core.web_app.pages import START, error_html, heads_html, maps_html, note_html, predictions_html
from xai_core.web_app.photo_maps import PhotoMaps, explain_photo, plain_message


@dataclass
class Session:
    """The results of one user.

    Attributes
    ----------
    explained
        The photo with its maps. None before the first photo.
    curves
        The curves of each metric.
    request
        Number of the last request. Results of earlier requests are not shown.
    scored
        Number of the last request whose curves were started.
    """

    explained: PhotoMaps | None = None
    curves: Curves = field(default_factory=dict)
    request: int = 0
    scored: int = 0

    def restart(self) -> int:
        """Discard the results, and return the number of a new request."""
        self.explained, self.curves = None, {}
        self.request += 1
        return self.request


@dataclass(frozen=True)
class Handlers:
    """The functions of the page. All users share the models."""

    models: OfferedModels

    def explain(
        self,
        path: str | None,
        name: str,
        methods: Sequence[str],
        layer: str | None,
        target: int | str | None,
        text: str | None,
        session: Session,
    ) -> Iterator[tuple[str, str] | None]:
        """Yield the predictions and the maps as HTML."""
        if not path:  # a new model was chosen before a photo, which may be on its way
            yield None
            return
        request = session.restart()
        if not methods:
            yield "", note_html("Select at least one method.")
            return
        try:
            model, photo = self.models[name], read_photo(path)
            chosen = layer if layer in model.layers else None
            of_photo = _target(model, target, text)
            if of_photo == "":
                yield "", note_html("Write a text about the photo, and press Enter.")
                return
            for explained in explain_photo(model, photo, methods[: choices.MOST_METHODS], chosen, of_photo):
                if session.request != request:
                    yield None
                    return
                session.explained = explained
                yield predictions_html(explained), maps_html(explained)
        except Exception as error:
            yield "", error_html(plain_message(error))

    def found(self, name: str, target: object, session: Session) -> dict[str, Any] | None:
        """Return the options of the explained detection or region, or None if this model has found none."""
        model, explained = self.models[name], session.explained
        if explained is None or explained.model is not model or not explained.found:
            return None
        return choices.found_in_photo(model, explained.found, target)

    def clear(self, session: Session) -> tuple[str, str, str]:
        """Return the predictions, the maps and the curves as HTML when there is no photo."""
        session.restart()
        return "", START, note_html("The curves appear here after the maps.")

    def curves(self, session: Session) -> Iterator[str | None]:
        """Yield the curves as HTML, until the user requests other maps."""
        request, explained = session.request, session.explained
        if explained is not None and (explained.pending or session.scored == request):
            yield None  # a newer request computes the maps or the curves
            return
        if explained is None or not explained.maps:
            yield note_html("The curves appear here after the maps.")
            return
        session.scored = request
        for curves, message in compute_curves(explained):
            if session.request != request:
                yield None
                return
            session.curves = curves
            yield charts(curves, [*explained.maps]) + error_html(message)

    def attention(self, path: str | None, name: str, layer: str | None, query: int) -> str:
        """Return the attention of a query token as HTML, with a panel for each head."""
        try:
            model = self.models[name]
            if not model.attention:
                return note_html("This model has no attention over the image. Choose a transformer to see its heads.")
            if not path:
                return note_html("The attention heads appear here after you choose a photo.")
            return _heads(model, read_photo(path), layer, int(query))
        except Exception as error:
            return error_html(plain_message(error))


def _target(model: ChosenModel, target: int | str | None, text: str | None) -> int | str | None:
    """Return the target for `explain_photo`, or an empty text."""
    if model.explained is Explained.TEXT:
        return (text or "").strip()
    return None if target == choices.PREDICTED[1] else target


def read_photo(path: str) -> Image:
    """Read an uploaded photo. Messages contain the name of the file, without its folder.

    Raises
    ------
    FileError
        If the file is not an image, or no longer exists.
    """
    name = Path(path).name
    try:
        with Path(path).open("rb") as file:
            return decode_image(file, name).image
    except FileNotFoundError:
        raise FileError(f"the uploaded photo {name} was deleted after a while; upload it again") from None


def _heads(model: ChosenModel, photo: Image, name: str | None, query: int) -> str:
    layers = {layer.name: layer for layer in model.attention}
    layer = layers.get(name or "", model.attention[-1])
    token = min(query, layer.tokens - 1)
    record = model.engine.attention(model.loaded.preprocess(photo)[None], rows=token)
    cells, title = attention_cells(record, layer.name, token, None, {})
    return heads_html(cells, title)
