"""A benchmark that is killed at each step of writing its files: `main` prints how often."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import xai_core as xai
from support.benchmark_runs import Speckles, run

KINDS = ("curves", "maps", "rows", "checksums")
SHARDS = 2
STEPS = SHARDS * len(KINDS) * 2
"""Each file is written beside its place, and then put there."""


def work(out: Path) -> xai.Run:
    return run(out, Speckles(4), methods="grad-cam", batch=2, shard=2, maps=True)


def ended_at(step: int, out: Path) -> None:
    """Work, and be killed at a step: in the middle of writing a file, or as it is put in its place."""
    left = step

    def counted(does: Callable[..., Any], half: bool) -> Callable[..., Any]:
        def instead(path: Path, *args: Any) -> Any:
            nonlocal left
            if path.parent.name in KINDS:
                if not left:
                    if half:
                        does(path, args[0][: len(args[0]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
            return does(path, *args)

        return instead

    Path.write_bytes = counted(Path.write_bytes, half=True)  # type: ignore[method-assign]
    Path.replace = counted(Path.replace, half=False)  # type: ignore[method-assign]
    work(out)


def main(folder: str) -> None:
    """Be killed at each step in a folder of its own; print how often that was."""
    torch.set_num_threads(1)
    work(Path(folder) / "warm-up")  # imports what each fork would import
    killed = 0
    for step in range(STEPS + 1):
        child = os.fork()
        if not child:
            ended_at(step, Path(folder) / str(step))
            os._exit(0)
        killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    print(killed)
