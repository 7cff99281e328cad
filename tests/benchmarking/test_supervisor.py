"""Benchmarks whose worker process is ended, from inside and from outside."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import support
import xai_core as xai
from support.benchmark_runs import TWO, Brightness, Counted, Speckles, run, same
from support.deadly import (
    Leaving,
    LeavingData,
    LeavingModel,
    block,
    crash,
    deadly,
    hold,
    leave,
    leave_politely,
    run_out_of_memory,
)
from support.workers_killed_at_random import forks, main, work, workers
from xai_core.benchmarking import process
from xai_core.errors import OptionError, WorkerError

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="the worker is this process")]
DURING = "WorkerError: its process ended with"
ENDS = {
    leave: f"{DURING} exit code 7 during leave",
    leave_politely: "PluginContractError: leave-politely raised an exception that would end the process, SystemExit: 0",
    crash: f"{DURING} SIGSEGV during crash",
    run_out_of_memory: f"{DURING} SIGKILL, for example because memory ran out, during run-out-of-memory",
    block: "WorkerError: block did not stop at its time limit of 0.8 s, and its process was killed",
    hold: "WorkerError: hold did not stop at its time limit of 0.8 s, and its process was killed",
}


def supervised(out: Path, *args: Any, **options: Any) -> xai.Run:
    return run(out, *args, in_process=False, **options)


def rows(done: xai.Run, method: str, metric: str = TWO[0]) -> Sequence[tuple[float | None, str | None]]:
    table = done.rows().to_pylist()
    return [(row["score"], row["error"]) for row in table if (row["method"], row["metric"]) == (method, metric)]


def test_rows_are_those_of_this_process(tmp_path: Path) -> None:
    dtype, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    here = run(tmp_path / "here", Speckles(9, broken=(3,)))
    there = supervised(tmp_path / "there", Speckles(9, broken=(3,)))
    assert same(here, there)
    assert here.manifest.hash == there.manifest.hash
    assert (torch.get_default_dtype(), torch.get_float32_matmul_precision()) == (dtype, precision)
    assert not workers(os.getpid())


def test_what_ends_the_process_costs_its_own_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "GRACE", 0.5)
    methods = ["grad-cam", *map(deadly, ENDS)]
    options = {"metrics": [TWO[0], Leaving()], "time_limit": 0.4, "batch": 2, "shard": 2}
    done = supervised(tmp_path / "run", Speckles(2), methods=methods, **options)
    alone = run(tmp_path / "alone", Speckles(2), methods=["grad-cam"], metrics=[TWO[0]], batch=2, shard=2)
    assert rows(done, "grad-cam") == rows(alone, "grad-cam")
    for act, reason in ENDS.items():
        for score, error in rows(done, act.__name__.replace("_", "-")):
            assert score is None
            assert error is not None
            assert error.removeprefix("disabled: ").startswith(reason)
    for score, error in rows(done, "grad-cam", "leaving"):
        assert score is None
        assert error == f"disabled: {DURING} exit code 7 during leaving for maps of grad-cam"


def test_a_worker_that_is_killed_from_outside_loses_nothing(tmp_path: Path) -> None:
    kinds = [workers, forks, lambda parent: [*workers(parent), *forks(parent)]]

    def kill(done: xai.Run, files: Any) -> None:
        if files is not None and kinds:
            for process in kinds.pop()(os.getpid()):
                os.kill(process, signal.SIGKILL)

    undisturbed = run(tmp_path / "undisturbed", shard=2)
    assert same(supervised(tmp_path / "killed", shard=2, progress=kill), undisturbed)
    assert not kinds


def test_a_fork_server_that_ends_before_the_first_shard_is_replaced(tmp_path: Path) -> None:
    def kill(done: xai.Run, files: Any) -> None:
        for server in forks(os.getpid()) if files is None else ():
            os.kill(server, signal.SIGKILL)

    done = supervised(tmp_path / "killed", Speckles(2), progress=kill)
    assert same(done, run(tmp_path / "undisturbed", Speckles(2)))


def test_processes_that_are_killed_at_random_moments_lose_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kills = int(os.environ.get("XAI_KILLS", 2))
    undisturbed = work(tmp_path / "undisturbed", kills, in_process=True)
    main(str(tmp_path / "killed"), kills)
    assert capsys.readouterr().out == f"killed {kills}\n"
    assert same(xai.Run.read(tmp_path / "killed"), undisturbed)


@pytest.mark.parametrize("act", [hold, block])
def test_the_worker_ends_with_the_process_that_started_it(tmp_path: Path, act: Any) -> None:
    code = (
        "import sys; from pathlib import Path; from support.deadly import deadly, block, hold; "
        "from support.benchmark_runs import run; "
        f"run(Path(sys.argv[1]), methods=[deadly({act.__name__})], in_process=False)"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(support.__file__).parents[1]), *sys.path])}
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], env=environment)
    while not (found := workers(parent.pid)):
        time.sleep(0.05)
    [worker] = found
    while not (tmp_path / "run" / "manifest.json").exists():
        time.sleep(0.05)
    time.sleep(0.5)
    parent.kill()
    parent.wait()
    end = time.monotonic() + 10
    while Path(f"/proc/{worker}").exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists()


def test_each_method_is_blamed_if_its_forward_passes_end_the_process(tmp_path: Path) -> None:
    done = supervised(tmp_path / "run", Speckles(2), LeavingModel(most=1))
    for method in ("grad-cam", "eigen-cam"):
        reason = f"disabled: {DURING} exit code 7 during forward passes for {method}"
        assert {error for _, error in rows(done, method)} == {reason}


@pytest.mark.parametrize(
    ("data", "model", "during"),
    [
        (Speckles(8), LeavingModel(), "first forward pass of model counted"),
        (LeavingData(8), Counted(), "reading of images 4 to 7"),
    ],
)
def test_the_run_ends_if_nothing_can_be_blamed(tmp_path: Path, data: Speckles, model: nn.Module, during: str) -> None:
    with pytest.raises(WorkerError, match=rf"ended 2 times \(.* exit code 7 during {during}\); repeat"):
        supervised(tmp_path / "run", data, model, shard=4)
    assert len(xai.Run.read(tmp_path / "run").finished) == ("images" in during)


def test_objects_that_cannot_be_sent_are_one_error(tmp_path: Path) -> None:
    metric = Brightness()
    metric.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(OptionError, match=r"cannot send .* or use in_process=True"):
        supervised(tmp_path / "run", metrics=[metric])


def test_ray_has_processes_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="in_process=True is not possible with backend='ray'"):
        run(tmp_path / "run", backend="ray", in_process=True)
