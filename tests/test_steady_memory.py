"""Memory and open files stay constant over many explanations in one process, and over many images of a run."""

import os
from pathlib import Path

import pytest
import torch

import xai_core as xai
from support.benchmark_runs import Speckles, run
from support.models import SmallCNN, fused_vit, settled
from xai_core.benchmarking.shards import ShardFiles

PROCESS = Path("/proc/self")
MOST = 5 * 2**20
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PROCESS.exists(), reason="reads /proc")]


def resident() -> int:
    """The resident memory of this process in bytes."""
    return int((PROCESS / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def open_files() -> int:
    return len([*(PROCESS / "fd").iterdir()])


def test_explanations_keep_no_memory_and_no_files() -> None:
    images = torch.rand(1, 3, 32, 32)
    cases = [
        (xai.Engine(settled(SmallCNN())), ["saliency", "eigen-cam"]),
        (xai.Engine(fused_vit()), ["rollout", "fem"]),
    ]
    taken, files = [], set()
    for index in range(2000):
        engine, methods = cases[index % 2]
        engine.explain(images, methods)
        if index >= 400:
            taken.append(resident())
            files.add(open_files())
    assert max(taken) - taken[0] < MOST
    assert len(files) == 1


def test_the_images_of_a_run_keep_no_memory_and_no_files(tmp_path: Path) -> None:
    taken, files = [], []

    def watch(going: xai.Run, part: ShardFiles | None) -> None:
        taken.append(resident())
        files.append(open_files())

    run(tmp_path / "run", Speckles(2000), methods="eigen-cam", metrics="deletion:steps=4", shard=100, progress=watch)
    assert len(taken) == 21
    assert max(taken[6:]) - taken[5] < MOST
    assert len({*files[1:-1]}) == 1
