"""Benchmarks on a Ray cluster of this machine, and what is killed there: `python on_ray.py FOLDER KILLS`; prints JSON.

Three runs of the same settings as one in this process: an undisturbed one, one of which an actor is killed, and one
whose own process is killed so many times.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ |= {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_AUTH_MODE": "disabled"}

import torch
from test_benchmark import Counted, Speckles, loaded, same

import xai_core as xai

CLUSTER = """
import ray

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
print(ray.get_runtime_context().gcs_address, flush=True)
input()
"""
SETTINGS: dict[str, Any] = {"methods": ["grad-cam", "eigen-cam"], "metrics": ["deletion:steps=6"], "floors": False}


def work(out: Path, **options: Any) -> xai.Run:
    return xai.benchmark(loaded(Counted()), Speckles(48), out=out, device="cpu", shard=4, **SETTINGS, **options)


def actors() -> list[int]:
    """The processes that hold a model."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and b"MapWorker" in (folder / "cmdline").read_bytes():
            found.append(int(folder.name))
    return found


class Killer:
    """Kills an actor once the first part is there."""

    def __init__(self) -> None:
        self.killed = 0

    def __call__(self, run: xai.Run, part: Any) -> None:
        if part is not None and not self.killed and run.missing:
            os.kill(min(actors()), signal.SIGKILL)
            self.killed += 1


def attempt(out: Path, address: str, seconds: float) -> bool:
    """Work for so many seconds in a process of its own, and be killed; whether it was through before."""
    child = os.fork()
    if not child:
        try:
            work(out, engine="ray", workers=2, address=address)
        finally:
            os._exit(0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG)[0]:
            return True
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def main() -> None:
    out, kills = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    random.seed(0)
    local = work(out / "local")
    # A process that has connected to Ray cannot be forked, so another one starts the cluster.
    cluster = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert cluster.stdout
    address = cluster.stdout.readline().strip()
    killed = 0
    while killed < kills and not attempt(out / "killed", address, random.uniform(2, 12)):
        killed += 1
    killer = Killer()
    runs = {
        "killed": work(out / "killed", engine="ray", workers=2, address=address),
        "actor": work(out / "actor", engine="ray", workers=2, progress=killer),
        "whole": work(out / "whole", engine="ray", workers=2),
    }
    said = {name: same(run, local) and run.manifest.hash == local.manifest.hash for name, run in runs.items()}
    cluster.communicate("\n")
    print(json.dumps({**said, "kills": killed, "killed actors": killer.killed}))


if __name__ == "__main__":
    main()
