"""Ends processes of a supervised benchmark at random moments.

Each time it is the process that started the worker, the worker, or both, by SIGKILL; or the process that started it, by
SIGTERM or by Ctrl-C twice.
"""

import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

import xai_core as xai
from support.benchmark_runs import Speckles, run
from support.subprocesses import started
from support.worker_processes import workers

SHARDS = 20
"""Shards for each time."""


def work(folder: Path, times: int, in_process: bool = False) -> xai.Run:
    """A run that is long enough to be disturbed so many times."""
    torch.set_num_threads(1)
    return run(folder, Speckles(2 * SHARDS * times), shard=2, batch=2, in_process=in_process)


def kill(process: BaseProcess, worker: int) -> None:
    process.kill()


def terminate(process: BaseProcess, worker: int) -> None:
    process.terminate()


def interrupt_twice(process: BaseProcess, worker: int) -> None:
    assert process.pid
    os.kill(process.pid, signal.SIGINT)
    time.sleep(random.uniform(0, 0.02))
    os.kill(process.pid, signal.SIGINT)


def kill_worker(process: BaseProcess, worker: int) -> None:
    os.kill(worker, signal.SIGKILL)


def kill_both(process: BaseProcess, worker: int) -> None:
    kill_worker(process, worker)
    kill(process, worker)


DISTURBANCES = [kill, interrupt_twice, terminate, kill_worker, kill_both]


def disturb(folder: Path, times: int) -> int:
    """Disturb a run so many times, each at a random moment after another shard was finished. Return how often."""
    random.seed(0)
    process, disturbed, before = None, 0, 0
    while disturbed < times:
        if process is None or not process.is_alive():
            process = started(work, folder, times)
        while not (finished(folder) > before and (found := workers(process.pid or 0))) and process.is_alive():
            time.sleep(0.01)
        assert process.is_alive(), "the benchmark ended"
        time.sleep(random.uniform(0, 0.1))
        before = finished(folder)
        act = DISTURBANCES[disturbed % len(DISTURBANCES)]
        act(process, found[0])
        if act is not kill_worker:
            process.join()
        require_ended(found[0])
        disturbed += 1
    if process is not None:
        process.kill()
        process.join()
    return disturbed


def finished(folder: Path) -> int:
    return len([*folder.glob("checksums/*.sha256")])


def require_ended(process: int) -> None:
    """Wait until a process has ended."""
    end = time.monotonic() + 20
    while Path(f"/proc/{process}").exists():
        assert time.monotonic() < end, "the worker runs"
        time.sleep(0.01)
