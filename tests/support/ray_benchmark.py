"""Benchmarks on Ray on this machine whose processes are killed; prints JSON.

Run it as `python -m support.ray_benchmark FOLDER KILLS`.

A run of the same settings as one in this process: on a cluster that is there its own process is killed so many times,
and then it is resumed on a cluster that it starts itself, where one of its actors is killed.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import torch

import xai_core as xai
from support.benchmark_runs import Counted, Speckles, loaded, same

os.environ |= {"RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0", "RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}

CLUSTER = """
import ray

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
print(ray.get_runtime_context().gcs_address, flush=True)
input()
"""
SETTINGS: dict[str, Any] = {"methods": ["grad-cam", "eigen-cam"], "metrics": ["deletion:steps=500"], "controls": False}


PARTS = 3 * int(sys.argv[2]) + 6
"""Some for each attempt, which is killed soon after it has written one, and some to go on with."""


def work(out: Path, **options: Any) -> xai.Run:
    data = Speckles(4 * PARTS)
    return xai.benchmark(loaded(Counted()), data, out=out, device="cpu", shard=4, **SETTINGS, **options)


def actors(cluster: int) -> set[int]:
    """The processes of a cluster that hold a model."""
    parents, holding = {}, set()
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if b"MapWorker" in (folder / "cmdline").read_bytes():
                    holding.add(int(folder.name))
            except OSError:  # it has ended
                pass

    def ancestors(process: int) -> set[int]:
        return {process, *ancestors(parents[process])} if process in parents else {process}

    return {process for process in holding if cluster in ancestors(process)}


class Killer:
    """Kills one of the run's own actors once the first part is there."""

    def __init__(self, cluster: int) -> None:
        self.cluster, self.killed = cluster, 0
        self.others: set[int] = set()

    def __call__(self, run: xai.Run, part: Any) -> None:
        if part is None:
            self.others = actors(self.cluster)
        elif not self.killed and run.missing:
            os.kill(min(actors(self.cluster) - self.others), signal.SIGKILL)
            self.killed += 1


def parts(out: Path) -> int:
    """How many parts are there."""
    return len([*out.glob("rows/*.parquet")])


def attempt(out: Path, address: str, seconds: float) -> bool:
    """Work in a process of its own until there is a part more, and so many seconds, and be killed; whether it was
    through before.
    """
    before, child = parts(out), os.fork()
    if not child:
        try:
            work(out, backend="ray", workers=2, address=address)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    end = None
    while end is None or time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert status == 0, "the benchmark failed"
            return True
        if end is None and parts(out) > before:
            end = time.monotonic() + seconds
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def main() -> None:
    out, kills = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    random.seed(0)
    local = work(out / "local", in_process=True)
    # A process that has connected to Ray cannot be forked, so another one starts the cluster.
    cluster = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert cluster.stdout
    address = cluster.stdout.readline().strip()
    killed = 0
    while killed < kills and not attempt(out / "killed", address, random.uniform(0, 0.5)):
        killed += 1
    assert parts(out / "killed") < PARTS
    cluster.communicate("\n")
    killer = Killer(os.getpid())
    resumed = work(out / "killed", backend="ray", workers=2, progress=killer)
    whole = same(resumed, local) and resumed.manifest.hash == local.manifest.hash
    print(json.dumps({"same": whole, "kills": killed, "killed actors": killer.killed}))


if __name__ == "__main__":
    main()
