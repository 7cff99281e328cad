"""The `ray` backend: computes shards on a Ray cluster, with Ray Data and actors that each keep a model."""

import logging
import os
import pickle
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from xai_core.benchmarking.plan import Plan
from xai_core.benchmarking.reader import in_one_line
from xai_core.benchmarking.shards import Shard, ShardFiles
from xai_core.benchmarking.supervisor import SupervisedWorker
from xai_core.errors import MissingDependencyError, OptionError

RESTARTS = 10
"""Number of times that a lost actor is restarted, or a lost shard recomputed, before the run ends with an error."""


class _Actor:
    """Supervises a worker on a machine of the cluster. Ray calls it with batches of shards."""

    def __init__(self, shared: Any) -> None:
        import ray

        self._worker = SupervisedWorker()
        self._worker.begin(ray.get(shared))

    def __call__(self, batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[bytes]]:
        columns = batch["model_index"], batch["start"], batch["stop"]
        shards = [Shard(*map(int, values)) for values in zip(*columns, strict=True)]
        return {"files": [pickle.dumps(self._worker.run(shard)) for shard in shards]}


class Cluster:
    """A Ray cluster that this process is connected to."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        resources = ray.cluster_resources()
        self._gpus, self._cpus = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))

    def device(self, name: str | None) -> torch.device:
        """Return the kind of device that actors use, by default GPUs if the cluster has any.

        Raises
        ------
        OptionError
            If the cluster has no such device.
        """
        kind = name or ("cuda" if self._gpus else "cpu")
        if kind not in ("cpu", "cuda")[: 2 if self._gpus else 1]:
            expected = "cpu or cuda" if self._gpus else "cpu, because the cluster has no GPU"
            raise OptionError(f"device={name!r} cannot be used with backend='ray'; expected {expected}")
        return torch.device(kind)

    def share(self, plan: Plan) -> Any:
        """Put the plan into Ray's object store, from which actors read it, and return the reference."""
        return self._ray.put(plan)

    def run_shards(
        self, shared: Any, on_gpus: bool, actors: int | None, shards: Sequence[Shard]
    ) -> Generator[ShardFiles, None, None]:
        """Compute shards, and iterate over their files in the order in which they finish.

        A lost actor or node is replaced, and its shard is computed again.

        Parameters
        ----------
        shared
            Result of `share`.
        on_gpus
            Whether actors use GPUs.
        actors
            Number of actors. If None, one per GPU or one per two CPUs.
        shards
            The shards.
        """
        gpus = self._gpus if on_gpus else 0
        count = actors or gpus or max(1, self._cpus // 2)
        data = self._ray.data
        items = data.from_items(
            [{"model_index": shard.model_index, "start": shard.start, "stop": shard.stop} for shard in shards],
            override_num_blocks=len(shards),
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")  # nothing else limits restarts
            results = items.map_batches(
                _Actor,
                fn_constructor_args=(shared,),
                batch_size=1,
                compute=data.ActorPoolStrategy(size=min(count, len(shards))),
                num_gpus=min(1, gpus / count) if gpus else 0,
                num_cpus=0 if gpus else min(1, self._cpus / count),
                max_restarts=RESTARTS,
                max_task_retries=RESTARTS,
            )
        for batch in results.iter_batches(batch_size=1, prefetch_batches=0):
            yield from map(pickle.loads, batch["files"])


@contextmanager
def connect(address: str | None) -> Iterator[Cluster]:
    """Connect to a cluster, and disconnect at the end unless the process was connected before.

    Parameters
    ----------
    address
        Address of a cluster. If None, the process's current connection is used, or a cluster starts on this machine.

    Raises
    ------
    MissingDependencyError
        If Ray is not installed.
    OptionError
        If there is no cluster at the address.
    """
    # The processes of a cluster on this machine use this environment; by default, Ray would have `uv run` create one.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise MissingDependencyError("backend='ray' requires Ray; run `pip install xai-core[ray]`") from None
    connected_before = ray.is_initialized()
    if not connected_before:
        try:
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
        except Exception as error:
            where = f"at {address}" if address else "on this machine"
            raise OptionError(f"no Ray cluster {where} ({in_one_line(error)[:200]})") from error
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        yield Cluster(ray)
    finally:
        if not connected_before:
            ray.shutdown()
