"""Starts the app on a local address, or on the address of a host."""

import os
import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from xai_core.engine import Engine
from xai_core.errors import DeviceError, InputTypeError, MissingDependencyError
from xai_core.web_app.offered_models import OfferedModels

if TYPE_CHECKING:
    from gradio import Blocks

MAX_UPLOAD = 20 << 20
"""Largest size of an uploaded file in bytes."""


class WebApp:
    """The web app of one or several models. `launch` starts it.

    Parameters
    ----------
    blocks
        The page.
    """

    def __init__(self, blocks: "Blocks") -> None:
        self._blocks = blocks

    def launch(
        self, *, host: str | None = None, port: int | None = None, browser: bool = False, block: bool = True
    ) -> str:
        """Start the app and return its address. In a notebook, the app is shown below the cell.

        Parameters
        ----------
        host
            Address to listen on. Default: the environment variable `GRADIO_SERVER_NAME`, which hosts of apps set, or
            127.0.0.1, which other computers cannot reach.
        port
            Default: the environment variable `GRADIO_SERVER_PORT`, or the first free port from 7860.
        browser
            Whether to open the app in the browser.
        block
            Whether to wait until the app is interrupted. In a notebook, the method returns at once.

        Raises
        ------
        DeviceError
            If the port is in use, or the address is not one of this computer.
        """
        from xai_core.web_app.page import launch_options

        try:
            _, address, _ = self._blocks.launch(
                server_name=host,
                server_port=port,
                inbrowser=browser,
                prevent_thread_lock=not block,
                **launch_options(MAX_UPLOAD),
            )
        except OSError as error:
            raise _occupied(host, error) from error
        return address

    def wait(self) -> None:
        """Wait until the app is interrupted."""
        self._blocks.block_thread()

    def close(self) -> None:
        """Stop the app and delete its files."""
        self._blocks.close(verbose=False)


def app(engine: Engine | Mapping[str, Engine]) -> WebApp:
    """Return a web app that explains photos. `app(engine).launch()` starts it.

    Parameters
    ----------
    engine
        An engine that was created with a `LoadedModel`, or a dict of engines by name, among which users choose.

    Returns
    -------
    WebApp
        The app. In a notebook, `launch` shows it below the cell. In the `app.py` of a hosted app, `launch` serves it.

    Raises
    ------
    InputTypeError
        If an engine is of another type, or was created without a `LoadedModel`.
    MissingDependencyError
        If Gradio is not installed.
    """
    engines = engine if isinstance(engine, Mapping) else {_name(engine): engine}
    for each in engines.values():
        if not isinstance(each, Engine):
            raise InputTypeError(f"expected an Engine or a dict of engines, got {type(each).__name__}")
    if not engines:
        raise InputTypeError("expected an Engine or a dict of engines, got an empty dict")
    return create({name: lambda each=each: each for name, each in engines.items()})  # type: ignore[misc]


def create(engines: Mapping[str, Callable[[], Engine]]) -> WebApp:
    """Return the app of models that are loaded when they are first chosen. The first model is loaded at once."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # Gradio reads it when it is imported
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import gradio  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError('the app requires Gradio; run `pip install "xai-core[app]"`') from error
    from xai_core.web_app.page import build

    return WebApp(build(OfferedModels(engines)))


def require_address(host: str, port: int) -> None:
    """Raise a `DeviceError` if the app cannot listen on an address, before models are loaded."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, os.name == "posix")
        try:
            server.bind((host, port))
        except OSError as error:
            raise _occupied(host, error) from error


def _occupied(host: str | None, error: OSError) -> DeviceError:
    return DeviceError(f"the app cannot listen on {host or 'this computer'}: {error}")


def _name(engine: object) -> str:
    loaded = engine.loaded if isinstance(engine, Engine) else None
    return (loaded.spec if loaded else "") or "model"
