"""The server of the app: its address, and errors in plain words."""

import errno
import signal
import socket
import subprocess
import sys

import pytest

import xai_core as xai
from support.app_models import cnn_engine
from support.command_line import Run
from xai_core.errors import InputTypeError, MissingDependencyError


def test_without_gradio_the_error_contains_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "xai-core\[app\]"'):
        xai.app(cnn_engine())


def test_the_engine_returns_its_app(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    monkeypatch.setattr("xai_core.web_app.launch.create", shown.append)
    engine = cnn_engine()
    engine.app()
    [[created]] = [models.values() for models in shown]
    assert created() is engine


def test_what_is_no_engine_is_rejected() -> None:
    with pytest.raises(InputTypeError, match="expected an Engine or a dict of engines, got str"):
        xai.app("shapes-vit")  # type: ignore[arg-type]
    with pytest.raises(InputTypeError, match="empty dict"):
        xai.app({})


def test_a_port_in_use_is_reported_before_models_are_loaded() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        run = Run("app", "--model", "no-model", "--port", port)
    assert run.code == 2
    assert run.err == f"error: the app cannot listen on 127.0.0.1: [Errno {errno.EADDRINUSE}] Address already in use\n"


def test_the_command_prints_the_address_and_ends_with_ctrl_c() -> None:
    pytest.importorskip("gradio", reason="the app requires Gradio")
    start = [sys.executable, "-c", "from xai_core.cli import main; main()", "app", "--model", "shapes-vit"]
    with subprocess.Popen(start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert line.startswith("The app runs at http://127.0.0.1:"), line + errors
    assert "Traceback" not in errors
