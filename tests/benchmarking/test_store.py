"""A run's folder whatever happens while it is written: files are whole or absent, and rows are there last."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import xai_core as xai
from support import subprocesses as fresh
from support.benchmark_killed_at_steps import KINDS, STEPS, work
from support.benchmark_runs import same


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("killed")
    said = fresh.printed(f"from support.benchmark_killed_at_steps import main; main({str(made)!r})", *sys.path)
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
