"""A run's folder whatever happens while it is written: files are whole or absent, and rows are there last."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fresh
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from test_benchmark import Speckles, run, same

import xai_core as xai

KINDS = ("curves", "maps", "rows")
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
    killed = 0
    for step in range(STEPS + 1):
        child = os.fork()
        if not child:
            ended_at(step, Path(folder) / str(step))
            os._exit(0)
        killed += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    print(killed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("killed")
    said = fresh.printed(f"import test_benchmark_store as own; own.main({str(made)!r})", *sys.path)
    assert int(said.split()[-1]) == STEPS  # and the last one was through
    return made


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> xai.Run:
    return work(tmp_path_factory.mktemp("undisturbed") / "run")


def content(run: xai.Run) -> dict[str, Any]:
    """Curves and maps of a run."""
    curves = {path.name: pq.read_table(path) for path in (run.path / "curves").glob("[0-9]*")}
    maps = {path.name: {**np.load(path)} for path in (run.path / "maps").glob("[0-9]*")}
    return {
        "curves": curves,
        "maps": {name: {key: one.tobytes() for key, one in of.items()} for name, of in maps.items()},
    }


@pytest.mark.parametrize("step", range(STEPS + 1))
def test_a_kill_at_any_write_leaves_whole_files_and_the_same_run(folder: Path, undisturbed: xai.Run, step: int) -> None:
    out = folder / str(step)
    whole = content(undisturbed)
    left = content(xai.Run.read(out))
    for kind, files in left.items():
        assert files == {name: whole[kind][name] for name in files}
        assert {path.stem for path in (out / "rows").glob("[0-9]*")} <= {Path(name).stem for name in files}
    finished = len(xai.Run.read(out).finished)
    assert finished == step // (2 * len(KINDS))
    resumed = work(out)
    assert same(resumed, undisturbed)
    assert content(resumed) == whole
    assert not [path for path in out.rglob(".*") if path.name != ".lock"]
