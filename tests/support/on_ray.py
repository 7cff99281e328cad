"""Code that runs in a process of its own, as the driver of a Ray cluster on this machine."""

import os
import subprocess
import sys
from pathlib import Path

ENVIRONMENT = {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}


def run_driver(code: str, *folders: Path) -> None:
    """Run code that can import the modules in these folders, which the actors can import too."""
    path = os.pathsep.join([*map(str, folders), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **ENVIRONMENT, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-3000:]
