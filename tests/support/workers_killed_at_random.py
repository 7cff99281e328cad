"""Kills processes of a supervised benchmark at random moments, and lets it end: `main` prints how often.

Each time it is the worker, the process that started it, or both.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import xai_core as xai
from support.benchmark_runs import Speckles, run

START = "from support.workers_killed_at_random import work; import sys; work(sys.argv[1], int(sys.argv[2]))"


def work(folder: str | Path, times: int, in_process: bool = False) -> xai.Run:
    """A run that is long enough to be killed so many times."""
    return run(Path(folder), Speckles(40 * times), shard=2, batch=2, in_process=in_process)


def forks(parent: int) -> list[int]:
    """The processes of `worker_process` that a process started."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                ancestor = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
                if ancestor == parent and b"worker_process" in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
            except OSError:  # it has ended
                pass
    return found


def workers(parent: int) -> list[int]:
    """The worker processes of a supervisor, whose parents are its fork servers."""
    return [worker for server in forks(parent) for worker in forks(server)]


def finished(folder: Path) -> int:
    return len([*folder.glob("checksums/*.sha256")])


def main(folder: str, times: int) -> None:
    """Kill so many times, each at a random moment after another shard was finished."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    random.seed(0)
    process, killed, before = None, 0, 0
    while finished(Path(folder)) < 20 * times:
        if process is None:
            process = subprocess.Popen([sys.executable, "-c", START, folder, str(times)], env=environment)
        code = process.poll()
        assert code in (None, 0), "the benchmark failed"
        if killed < times and finished(Path(folder)) > before and workers(process.pid):
            time.sleep(random.uniform(0, 0.2))
            [worker], parent = workers(process.pid), process.pid
            for victim in random.choice([[worker], [parent], [worker, parent]]):
                os.kill(victim, signal.SIGKILL)
                if victim == parent:
                    process.wait()
                    process = None
            killed, before = killed + 1, finished(Path(folder))
        time.sleep(0.01)
    if process is not None:
        process.wait()
    print("killed", killed)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
