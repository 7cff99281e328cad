"""Kills a benchmark at random moments, and lets it end: `main` prints how often.

Each attempt is a process of its own, forked so that PyTorch is loaded once, and ended by SIGKILL.
"""

import os
import random
import shutil
import signal
import time
import traceback
from pathlib import Path

import torch

import xai_core as xai
from support.benchmark_runs import Counted, Speckles, loaded

SETTINGS = {
    "methods": ["grad-cam", "eigen-cam"],
    "metrics": ["deletion:steps=6"],
    "controls": False,
    "shard": 2,
    "in_process": True,
}


def work(out: Path) -> None:
    xai.benchmark(loaded(Counted()), Speckles(60), out=out, device="cpu", **SETTINGS)  # type: ignore[arg-type]


def attempt(out: Path, seconds: float) -> bool:
    """Work for so many seconds, and be killed; whether it was through before."""
    child = os.fork()
    if not child:
        try:
            work(out)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert status == 0, "the benchmark failed"
            return True
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL), "the benchmark failed"
    return False


def main(folder: str, times: int) -> None:
    out = Path(folder)
    torch.set_num_threads(1)
    random.seed(0)
    work(out.with_name("warm-up"))
    start = time.monotonic()
    work(out.with_name("undisturbed"))
    whole = time.monotonic() - start
    killed, most = 0, 0.1
    while killed < times:
        if not attempt(out, random.uniform(0, most) * whole):
            killed += 1
        else:  # through too soon: begin again, and go more slowly
            shutil.rmtree(out)
            killed, most = 0, most / 2
    while not attempt(out, 60):
        pass
    print(f"{whole:.2f} s undisturbed; killed", killed)
