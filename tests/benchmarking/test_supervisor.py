"""Benchmarks whose worker process is ended from inside."""

import errno
import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest
import torch

import xai_core as xai
from support.benchmark_runs import TWO, Brightness, Speckles, by_key, loaded, run, same
from support.deadly import (
    DeadlyData,
    Leaving,
    LeavingModel,
    Unloadable,
    Unpicklable,
    deadly,
    hold,
    leave,
    run_out_of_memory,
)
from support.worker_processes import KeptServer, children, workers
from xai_core.benchmarking import process, supervisor
from xai_core.errors import FileError, OptionError, WorkerError
from xai_core.plugin import Evaluation

pytestmark = [pytest.mark.slow, pytest.mark.skipif(os.name != "posix", reason="the worker is this process")]
DURING = "WorkerError: its process ended with"
OF_METHODS = {
    leave: f"disabled: {DURING} exit code 7 during leave",
}
OF_IMAGES = {
    2: (run_out_of_memory, f"{DURING} SIGKILL, for example because memory ran out, during reading of image 2"),
    3: (hold, "WorkerError: reading of image 3 did not stop at its time limit of 0.9 s, and its process was killed"),
}
OF_MODELS = {
    "unloadable": (Unloadable(), f"{DURING} exit code 7 during loading of model unloadable"),
    "leaving": (LeavingModel(), f"{DURING} exit code 7 during first forward pass of model leaving"),
}
METRIC = f"disabled: {DURING} exit code 7 during leaving for maps of grad-cam"


@pytest.fixture(scope="module")
def servers() -> Iterator[list[KeptServer]]:
    servers: list[KeptServer] = []
    yield servers
    for server in servers:
        server.end()


@pytest.fixture(autouse=True)
def quick(servers: list[KeptServer], monkeypatch: pytest.MonkeyPatch) -> None:
    """Share a fork server, and wait for less time."""

    def server() -> KeptServer:
        if not servers or servers[-1].ended:
            servers.append(KeptServer())
        return servers[-1]

    monkeypatch.setattr(supervisor, "ForkServer", server)
    monkeypatch.setattr(process, "GRACE", 0.3)
    monkeypatch.setattr(process, "POLL", 0.05)


def supervised(out: Path, *args: Any, **options: Any) -> xai.Run:
    return run(out, *args, in_process=False, **options)


def errors(done: xai.Run, model: str = "counted") -> Mapping[tuple[str, str, str], str]:
    """The errors of a model, by image, method and metric."""
    table = done.rows()
    rows = table.filter(pc.equal(table["model"], model))
    return {key: row["error"] for key, row in by_key(rows).items()}


class Threads(Brightness):
    """Returns the number of threads."""

    name = "threads"

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        return xai.MetricResult(torch.full((len(saliency.values),), float(torch.get_num_threads())))


@pytest.fixture
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three_threads")
def test_rows_are_those_of_this_process(tmp_path: Path) -> None:
    dtype, precision = torch.get_default_dtype(), torch.get_float32_matmul_precision()
    metrics = [*TWO, Threads()]
    here = run(tmp_path / "here", Speckles(9, broken=(3,)), metrics=metrics)
    there = supervised(tmp_path / "there", Speckles(9, broken=(3,)), metrics=metrics)
    assert same(here, there)
    assert here.manifest.hash == there.manifest.hash
    assert (torch.get_default_dtype(), torch.get_float32_matmul_precision()) == (dtype, precision)
    assert not workers(os.getpid())


def test_what_ends_the_process_costs_its_own_rows(tmp_path: Path) -> None:
    others = [xai.LoadedModel(model, lambda image: image, spec=spec) for spec, (model, _) in OF_MODELS.items()]
    data = DeadlyData(6, acts={image: act for image, (act, _) in OF_IMAGES.items()})
    options = {"metrics": [TWO[0], Leaving()], "batch": 2, "shard": 2, "time_limit": 0.3}
    methods = ["grad-cam", *map(deadly, OF_METHODS)]
    found = errors(supervised(tmp_path / "run", data, models=[loaded(), *others], methods=methods, **options))
    for act, reason in OF_METHODS.items():
        for image in ("speckle-1", "speckle-5"):
            assert found[image, act.__name__.replace("_", "-"), TWO[0]].startswith(reason)
    for image, (_, reason) in OF_IMAGES.items():
        assert {error for key, error in found.items() if key[0] == f"{image}"} == {reason}
    for image in (0, 1, 4, 5):
        assert found[f"speckle-{image}", "grad-cam", TWO[0]] is None
        assert found[f"speckle-{image}", "grad-cam", "leaving"] == METRIC
    for spec, (_, reason) in OF_MODELS.items():
        assert {*errors(xai.Run.read(tmp_path / "run"), spec).values()} == {reason}


def test_images_that_end_the_process_change_no_scores(tmp_path: Path) -> None:
    """The third image holds the interpreter's lock while the first shard is explained, which is not to blame.

    The first image also ends the worker that plans the benchmark.
    """
    healthy = run(tmp_path / "healthy", Speckles(4, broken=(0, 2)), shard=2)
    done = supervised(tmp_path / "run", DeadlyData(4, acts={0: leave, 2: hold}), shard=2, time_limit=0.3)
    assert {key[0] for key, error in errors(done).items() if error} == {"0", "2"}
    assert done.rows()["score"].equals(healthy.rows()["score"])


def test_each_method_is_blamed_if_its_forward_passes_end_the_process(tmp_path: Path) -> None:
    done = supervised(tmp_path / "run", Speckles(2), LeavingModel(most=1))
    for (_, method, _), error in errors(done).items():
        assert error == f"disabled: {DURING} exit code 7 during forward passes for {method}"


def test_the_run_ends_if_nothing_can_be_blamed(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"ended 2 times \(.* exit code 7 during start of the worker\); repeat"):
        supervised(tmp_path / "run", metrics=[Unpicklable()])
    with pytest.raises(WorkerError, match=r"ended 2 times \(.* exit code 7 during loading of model counted\); repeat"):
        supervised(tmp_path / "run", model=Unloadable())
    assert not [*tmp_path.iterdir()]


def test_workers_and_fork_servers_that_are_killed_lose_nothing(tmp_path: Path) -> None:
    kinds = [lambda parent: [*workers(parent), *children(parent)], workers, children]

    def kill(done: xai.Run, files: Any) -> None:
        for victim in kinds.pop()(os.getpid()) if kinds else ():
            run_out_of_memory(victim)

    undisturbed = run(tmp_path / "undisturbed", shard=2)
    assert same(supervised(tmp_path / "killed", shard=2, progress=kill), undisturbed)
    assert not kinds


def test_a_full_disk_is_one_error_and_loses_no_complete_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = run(tmp_path / "run", shard=2)
    write = Path.write_bytes

    def fill(path: Path, content: bytes) -> Any:
        """Write half of the third shard's rows."""
        if path.parent.name == "rows" and len([*tmp_path.glob("full/checksums/*")]) == 2:
            write(path, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, content)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", fill)
        with pytest.raises(FileError, match=r"cannot write .*000-000000004.parquet: No space left on device"):
            supervised(tmp_path / "full", shard=2)
    assert len(xai.Run.read(tmp_path / "full").finished) == 2
    assert not [*tmp_path.glob("full/*/.*")]
    assert same(run(tmp_path / "full", shard=2), undisturbed)


def test_objects_that_cannot_be_sent_are_one_error(tmp_path: Path) -> None:
    metric = Brightness()
    metric.lock = threading.Lock()  # type: ignore[attr-defined]
    with pytest.raises(OptionError, match=r"cannot send .* or use in_process=True"):
        supervised(tmp_path / "run", metrics=[metric])


def test_ray_has_processes_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="in_process=True is not possible with backend='ray'"):
        run(tmp_path / "run", backend="ray", in_process=True)
