"""The benchmark on Ray gives the rows of the local one, whoever is killed.

A process on Ray takes ten seconds and more to begin its work, so that a worker and an actor are killed once here, or
workers, actors and drivers as often as `XAI_KILLS` says.
"""

import json
import os
import pickle
import subprocess
import sys
import threading
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from support.benchmark_runs import run
from xai_core.benchmarking import on_ray
from xai_core.benchmarking.on_ray import Cluster
from xai_core.benchmarking.shards import Shard
from xai_core.errors import MissingDependencyError, OptionError


class FakeData:
    """Ray Data as far as it is told what to do."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}

    def from_items(self, items: list[Any], **options: Any) -> "FakeData":
        return self

    def map_batches(self, actor: type, **options: Any) -> "FakeData":
        self.told = options
        return self

    def iter_batches(self, **options: Any) -> Iterator[Any]:
        return iter([])

    def ActorPoolStrategy(self, size: int) -> int:  # as Ray calls it
        return size


@pytest.mark.parametrize(
    ("gpus", "actors", "shards", "pool", "each"),
    [
        (4, None, 100, 4, {"num_gpus": 1, "num_cpus": 0}),  # a model on each GPU
        (4, 8, 100, 8, {"num_gpus": 0.5, "num_cpus": 0}),  # two share one
        (4, 2, 100, 2, {"num_gpus": 1, "num_cpus": 0}),
        (4, None, 3, 3, {"num_gpus": 1, "num_cpus": 0}),  # no more than there is work for
        (0, None, 100, 8, {"num_gpus": 0, "num_cpus": 1}),  # one for each two processors
        (0, 32, 100, 32, {"num_gpus": 0, "num_cpus": 0.5}),
    ],
)
def test_actors_have_the_clusters_gpus_or_its_processors(
    gpus: int, actors: int | None, shards: int, pool: int, each: dict[str, float]
) -> None:
    data = FakeData()
    ray = SimpleNamespace(data=data, cluster_resources=lambda: {"CPU": 16.0, "GPU": float(gpus)})
    work = [Shard(0, start, start + 1) for start in range(shards)]
    assert not [*Cluster(ray).run_shards(None, gpus > 0, actors, work)]
    assert data.told["compute"] == pool
    assert {name: data.told[name] for name in each} == each


@pytest.mark.slow
def test_ray_gives_the_same_rows_after_workers_actors_and_drivers_are_killed(tmp_path: Path) -> None:
    kills = int(os.environ.get("XAI_KILLS", 2))
    command = [sys.executable, "-m", "support.ray_benchmark", str(tmp_path), str(kills)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3000, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"same": True, "kills": kills, "left": True}


class FakeRay(types.ModuleType):
    """Ray as far as it is seen before there is work, with no cluster behind it."""

    def __init__(self, gpus: int = 0) -> None:
        super().__init__("ray")
        self.gpus, self.connected = gpus, 0
        self.data = types.SimpleNamespace(DataContext=types.SimpleNamespace(get_current=types.SimpleNamespace))

    def is_initialized(self) -> bool:
        return False

    def init(self, **options: Any) -> None:
        if options["address"] == "nowhere":
            raise ConnectionError("refused")
        self.connected += 1

    def shutdown(self) -> None:
        self.connected -= 1

    def cluster_resources(self) -> Mapping[str, float]:
        return {"CPU": 2.0, "GPU": float(self.gpus)}

    def put(self, given: Any) -> bytes:
        return pickle.dumps(given)


@pytest.mark.parametrize(
    ("ray", "given", "said"),
    [
        (None, {}, r"pip install xai-core\[ray\]"),
        (FakeRay(), {"address": "nowhere"}, "no Ray cluster at nowhere .*refused"),
        (FakeRay(), {"data": [threading.Lock()]}, "cannot send the models, data, methods or metrics .*can be pickled"),
        (FakeRay(), {"device": "cuda"}, "device='cuda' cannot be used with backend='ray'; expected cpu, because"),
        (FakeRay(1), {"device": "cuda:1"}, "device='cuda:1' cannot be used with backend='ray'; expected cpu or cuda"),
    ],
)
def test_ray_that_cannot_work_is_one_error_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray: FakeRay | None, given: Mapping[str, Any], said: str
) -> None:
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(OptionError if ray else MissingDependencyError, match=said):
        run(tmp_path / "run", backend="ray", **given)
    assert not (tmp_path / "run").exists()
    assert ray is None or not ray.connected


def test_the_cluster_says_whether_there_are_gpus() -> None:
    assert [on_ray.Cluster(FakeRay(gpus)).device(None).type for gpus in (0, 4)] == ["cpu", "cuda"]
