"""Implements `xai app`: the app with models of the command line."""

from collections.abc import Sequence
from functools import partial

from xai_core.cli.console import print_line
from xai_core.cli.loading import load
from xai_core.engine import Engine
from xai_core.web_app.launch import create, require_address

DEFAULT = ("efficientnet-lite0", "shapes-vit")
"""A CNN for photos, and a vision transformer whose attention can be shown."""


def run_app(models: Sequence[str], port: int | None, host: str, browser: bool, device: str | None) -> None:
    """Start the app, and wait until it is interrupted."""
    if port is not None:
        require_address(host, port)
    app = create({spec: partial(_engine, spec, device) for spec in models or DEFAULT})
    address = app.launch(host=host, port=port, browser=browser, block=False)
    print_line(f"The app runs at {address} (press Ctrl-C to stop it).")
    try:
        app.wait()
    finally:
        app.close()


def _engine(spec: str, device: str | None) -> Engine:
    return load(spec, device).engine
