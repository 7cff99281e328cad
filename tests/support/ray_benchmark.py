"""A benchmark on Ray on this machine whose processes are killed at random moments; prints JSON.

Run it as `python -m support.ray_benchmark FOLDER KILLS`. Each time it is a worker, the actor that started it, or the
process that is connected to the cluster. The rows are compared with those of an undisturbed run in this process.
A file builds the model in each of them.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import xai_core as xai
from support import own_model
from support.benchmark_runs import Speckles, same
from support.on_ray import ENVIRONMENT
from support.worker_processes import workers

os.environ |= ENVIRONMENT

CLUSTER = """
import ray

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
print(ray.get_runtime_context().gcs_address, flush=True)
input()
"""
MODEL = "net.py:build,width=6,size=32"
SETTINGS: dict[str, Any] = {"methods": ["grad-cam", "eigen-cam"], "metrics": ["deletion:steps=300"], "controls": False}
PARTS = 4 * int(sys.argv[2]) + 4
"""Some for each kill, and some to go on with."""


def work(out: Path, **options: Any) -> xai.Run:
    torch.set_num_threads(1)
    return xai.benchmark(
        "net.py:build,width=6,size=32", Speckles(2 * PARTS), out=out, device="cpu", shard=2, **SETTINGS, **options
    )


def actors() -> list[int]:
    """The processes that supervise a worker, of which only this test's cluster has any."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                if b"MapWorker" in (folder / "cmdline").read_bytes() and workers(int(folder.name)):
                    found.append(int(folder.name))
            except OSError:  # it has ended
                pass
    return found


def parts(out: Path) -> int:
    """How many parts are there."""
    return len([*out.glob("checksums/*")])


def connected(out: Path, address: str) -> int:
    """Start a process that works on a cluster."""
    child = os.fork()
    if not child:
        try:
            work(out, backend="ray", workers=2, address=address)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return child


def victims(driver: int, kind: str) -> Sequence[int]:
    """The processes to kill."""
    if kind == "driver":
        return [driver]
    supervising = actors()[:1]
    return supervising if kind == "actor" else [worker for actor in supervising for worker in workers(actor)]


def main() -> None:
    out, kills = Path(sys.argv[1]), int(sys.argv[2])
    random.seed(0)
    os.chdir(out)
    own_model.write(out)
    local = work(out / "local", in_process=True)
    # A process that has connected to Ray cannot be forked, so another one starts the cluster.
    cluster = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert cluster.stdout
    address = cluster.stdout.readline().strip()
    driver = connected(out / "killed", address)
    for number in range(kills):
        kind, before = ("worker", "actor", "driver")[number % 3], parts(out / "killed")
        while parts(out / "killed") == before or not (found := victims(driver, kind)):
            assert os.waitpid(driver, os.WNOHANG) == (0, 0), "the benchmark ended"
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.1))
        for victim in found:
            os.kill(victim, signal.SIGKILL)
        if kind == "driver":
            os.waitpid(driver, 0)
            driver = connected(out / "killed", address)
    left = PARTS - parts(out / "killed")
    _, status = os.waitpid(driver, 0)
    cluster.communicate("\n")
    resumed = xai.Run.read(out / "killed")
    whole = not status and same(resumed, local) and resumed.manifest.hash == local.manifest.hash
    print(json.dumps({"same": whole, "kills": kills, "left": left > 0}))


if __name__ == "__main__":
    main()
