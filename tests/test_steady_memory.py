"""Memory and open files stay constant over many explanations in one process, and over many images of a run.

`XAI_IMAGES` says how many images the run has.
"""

import os
from pathlib import Path

import pytest
import torch

import xai_core as xai
from support.benchmark_runs import Speckles, run
from support.models import SmallCNN, fused_vit, settled
from support.worker_processes import children, workers
from xai_core.benchmarking.shards import ShardFiles

MOST = 5 * 2**20
EXPLANATIONS, SHARDS = 400, 20
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not Path("/proc/self").exists(), reason="reads /proc")]


def resident(process: int) -> int:
    """The resident memory of a process in bytes."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files(process: int) -> int:
    return len([*Path(f"/proc/{process}/fd").iterdir()])


def test_explanations_keep_no_memory_and_no_files() -> None:
    images = torch.rand(1, 3, 32, 32)
    cases = [
        (xai.Engine(settled(SmallCNN())), ["saliency", "eigen-cam"]),
        (xai.Engine(fused_vit()), ["rollout", "fem"]),
    ]
    taken, files = [], set()
    for index in range(EXPLANATIONS):
        engine, methods = cases[index % 2]
        engine.explain(images, methods)
        if index >= EXPLANATIONS // 4:
            taken.append(resident(os.getpid()))
            files.add(open_files(os.getpid()))
    assert max(taken) - taken[0] < MOST
    assert len(files) == 1


def test_the_images_of_a_run_keep_no_memory_and_no_files(tmp_path: Path) -> None:
    """In the worker process, and in the process that started it."""
    images = int(os.environ.get("XAI_IMAGES", 600))
    taken: list[tuple[int, ...]] = []
    files: list[tuple[int, ...]] = []

    def watch(going: xai.Run, part: ShardFiles | None) -> None:
        if part is not None:
            processes = [os.getpid(), *workers(os.getpid())]
            taken.append(tuple(map(resident, processes)))
            files.append(tuple(map(open_files, processes)))

    options = {"methods": "eigen-cam", "metrics": "deletion:steps=4", "shard": images // SHARDS, "in_process": False}
    run(tmp_path / "run", Speckles(images), progress=watch, **options)
    for memory in zip(*taken[SHARDS // 4 :], strict=True):
        assert max(memory) - memory[0] < MOST
    assert len({*files[1:-1]}) == 1
    assert len(files[0]) == 2
    assert not children(os.getpid())
