"""Options of `xai app`."""

from typing import Annotated

import typer

from xai_core.cli.options import DeviceOption, Several


def app_command(
    model: Annotated[
        Several,
        typer.Option(
            metavar="SPEC",
            help="Model to offer (see `xai list models`). Repeatable.  [default: efficientnet-lite0 and shapes-vit]",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, metavar="PORT", help="Port to listen on.  [default: the first free port from 7860]"
        ),
    ] = None,
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Address to listen on. 0.0.0.0 accepts connections from other computers."),
    ] = "127.0.0.1",
    browser: Annotated[bool, typer.Option("--browser", help="Open the app in the browser.")] = False,
    device: DeviceOption = None,
) -> None:
    """Explain photos in the browser.

    The app shows the maps of several methods side by side, the attention of transformers, and deletion and insertion
    curves. The page loads nothing from other hosts, and uploaded photos are deleted after an hour. Press Ctrl-C to stop
    the app. The app requires Gradio: pip install "xai-core[app]".
    """
    from xai_core.cli.actions.web_app import run_app

    run_app(model or (), port, host, browser, device)
