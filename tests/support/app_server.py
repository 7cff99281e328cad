"""The app of small models in a process of its own, as users run it. Gradio leaves event loops open in its process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.app_models import cnn_engine, detector_engine, segmenter_engine, text_engine, vit_engine

MAX_UPLOAD = 100_000
"""Largest size of an upload in bytes."""


@contextmanager
def app_server(uploads: Path) -> Iterator[str]:
    """Start the app, which stores uploads in a folder. Yield its address."""
    environment = {**os.environ, "GRADIO_TEMP_DIR": str(uploads), "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "support.app_server"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), address + process.communicate()[0]
            yield address
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


def main() -> None:
    import xai_core as xai
    from xai_core.web_app import launch

    launch.MAX_UPLOAD = MAX_UPLOAD
    models = {"cnn": cnn_engine(), "vit": vit_engine(), "detector": detector_engine()}
    app = xai.app({**models, "segmenter": segmenter_engine(), "texts": text_engine()})
    try:
        print(app.launch(block=False), flush=True)
        app.wait()
    finally:
        app.close()


if __name__ == "__main__":
    main()
