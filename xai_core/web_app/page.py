"""The page of the app: its components, and what happens when they change."""

import secrets
from collections.abc import Callable, Iterator
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from xai_core.web_app import choices
from xai_core.web_app.download import results_zip
from xai_core.web_app.handlers import Handlers, Session
from xai_core.web_app.offered_models import OfferedModels
from xai_core.web_app.pages import START, note_html
from xai_core.web_app.photo_maps import plain_message

OPACITY = 0.85
KEPT = 3600
"""Seconds after which uploads, downloads and results are deleted."""
CLEANED = 300
"""Seconds between two searches for old files."""
USERS = 2
"""Number of computations that run at the same time. Further users wait."""
_FILES = Path(__file__).parent
_SLIDER = "(value) => { document.documentElement.style.setProperty('--xai-opacity', value); }"
_CLICK = "() => { setTimeout(() => document.querySelector('#xai-file').click(), 50); }"


def build(models: OfferedModels) -> gr.Blocks:
    """Return the page of the app."""
    first = models[models.names[0]]
    handlers = Handlers(models)
    with gr.Blocks(title="xai-core", analytics_enabled=False, delete_cache=(CLEANED, KEPT), fill_width=True) as page:
        session = gr.State(Session(), time_to_live=KEPT)
        gr.HTML((_FILES / "header.html").read_text(encoding="utf-8"))
        with gr.Row(elem_classes="xai-columns"):
            with gr.Column(scale=1, min_width=300):
                photo = gr.Image(
                    label="Photo",
                    sources=["upload", "clipboard"],
                    height=260,
                    elem_id="xai-photo",
                    buttons=[],
                    placeholder="Drop or paste a photo",
                )
                vars(photo)["preprocess"] = _path  # the file is opened later, so that errors are in plain words
                model = gr.Dropdown(models.names, value=models.names[0], label="Model", elem_id="xai-model")
                methods = gr.Dropdown(**choices.methods(first), label="Methods", elem_id="xai-methods")
                target = gr.Dropdown(**choices.classes(first), elem_id="xai-class")
                text = gr.Textbox(
                    **choices.text(first), label="Text", placeholder="a red star", max_lines=1, elem_id="xai-text"
                )
                layer = gr.Dropdown(**choices.layers(first), label="Layer", elem_id="xai-layer")
                predictions = gr.HTML(elem_id="xai-predictions")
            with gr.Column(scale=3, min_width=320):
                with gr.Row(elem_classes="xai-bar-row"):
                    opacity = gr.Slider(0, 1, OPACITY, step=0.01, label="Opacity", elem_id="xai-opacity", buttons=[])
                    download = gr.Button("Download results", size="md", elem_id="xai-download", min_width=180, scale=0)
                    file = gr.DownloadButton("File", visible="hidden", elem_id="xai-file")
                maps = gr.HTML(START, elem_id="xai-maps")
                with gr.Tabs():
                    with gr.Tab("Curves", elem_id="xai-curves-tab"):
                        curves = gr.HTML(note_html("The curves appear here after the maps."), elem_id="xai-curves")
                    with gr.Tab("Attention", elem_id="xai-attention-tab") as attention_tab:
                        with gr.Row():
                            heads_of = gr.Dropdown(
                                **choices.attention_layers(first), label="Attention layer", min_width=200
                            )
                            query = gr.Slider(
                                **choices.tokens(first), step=1, label="Query token", min_width=200, buttons=[]
                            )
                        heads = gr.HTML(elem_id="xai-heads")

        private: dict[str, Any] = {"api_visibility": "private"}
        limited = {**private, "concurrency_limit": USERS}
        latest = {**limited, "trigger_mode": "always_last", "show_progress": "minimal"}
        explain = {
            "fn": _keeping(handlers.explain, 2),
            "inputs": [photo, model, methods, layer, target, text, session],
            "outputs": [predictions, maps],
            "show_progress_on": [maps],
            **latest,
        }
        score = {"fn": _keeping(handlers.curves, 1), "inputs": session, "outputs": curves, **limited}
        score |= {"trigger_mode": "always_last"}  # by default, an event is dropped while an earlier one runs
        attend = {"fn": handlers.attention, "inputs": [photo, model, heads_of, query], "outputs": heads, **latest}
        changes = [photo.change, methods.input, layer.input, target.input, text.submit]
        chosen = model.input(_choices(models), model, [methods, target, text, layer, heads_of, query], **private)
        explained = [gr.on(changes, **explain), chosen.success(**explain)]
        for event in explained:
            event.success(_found(handlers), [model, target, session], target, **private)
            event.success(**attend)
            event.success(**score, show_progress="hidden")
        photo.clear(handlers.clear, session, [predictions, maps, curves], **private)
        gr.on([heads_of.input, query.release, attention_tab.select], **attend)
        opacity.input(None, opacity, None, js=_SLIDER, **private)
        zipped = download.click(_zip(page), [session, opacity], file, **private)
        zipped.success(None, None, None, js=_CLICK, **private)
    return page.queue(default_concurrency_limit=USERS, max_size=64)


def _path(payload: Any) -> str | None:
    """Return the path of an upload. Gradio has checked that the file is an upload."""
    return None if payload is None else payload.path


def _choices(models: OfferedModels) -> Callable[[str], list[Any]]:
    """Return a function that returns the choices for a model."""

    def update(name: str) -> list[Any]:
        try:
            model = models[name]
        except Exception as error:
            raise gr.Error(escape(f"{name}: {plain_message(error)}"), print_exception=False) from error
        of_photo = (choices.methods, choices.classes, choices.text, choices.layers)
        return [gr.update(**options(model)) for options in (*of_photo, choices.attention_layers, choices.tokens)]

    return update


def _keeping(function: Callable[..., Iterator[Any]], outputs: int) -> Callable[..., Iterator[Any]]:
    """Return a generator function that keeps what the outputs show when another one yields None."""
    kept = (gr.skip(),) * outputs if outputs > 1 else gr.skip()

    def update(*values: Any) -> Iterator[Any]:
        for shown in function(*values):
            yield kept if shown is None else shown

    return update


def _found(handlers: Handlers) -> Callable[[str, Any, Session], Any]:
    """Return a function that returns the detections or the regions in the photo as choices."""

    def update(name: str, target: Any, session: Session) -> Any:
        options = handlers.found(name, target, session)
        return gr.skip() if options is None else gr.update(**options)

    return update


def _zip(page: gr.Blocks) -> Callable[[Session, float], str]:
    """Return a function that writes the results to a file, which the page deletes."""

    def write(session: Session, opacity: float) -> str:
        if session.explained is None or not session.explained.maps:
            raise gr.Error("There are no results yet. Choose a photo first.", print_exception=False)
        folder = Path(page.GRADIO_CACHE) / secrets.token_hex(16)
        folder.mkdir(parents=True)
        path = folder / "xai-core-results.zip"
        path.write_bytes(results_zip(session.explained, session.curves, opacity))
        return str(path)

    return write


def launch_options(max_upload: int) -> dict[str, Any]:
    """Return the options of `Blocks.launch`: the style of the page, and what the server permits."""
    fonts = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]
    base = gr.themes.Base(
        primary_hue="orange", neutral_hue="slate", font=fonts, font_mono=["ui-monospace", "monospace"]
    )
    theme = base.set(body_text_color_subdued="*neutral_500", body_text_color_subdued_dark="*neutral_400")
    return {
        "theme": theme,
        "css": (_FILES / "style.css").read_text(encoding="utf-8"),
        "head": f"<script>{(_FILES / 'enlarge.js').read_text(encoding='utf-8')}</script>",
        "footer_links": [],
        "max_file_size": max_upload,
        "share": False,
        "ssr_mode": False,
        "mcp_server": False,
        "enable_monitoring": False,
        "quiet": True,
        "state_session_capacity": 100,
    }
