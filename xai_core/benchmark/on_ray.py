"""Works through shards on a Ray cluster: Ray Data over actors that hold a model each."""

import logging
import os
import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from xai_core.benchmark.preparation import Given
from xai_core.benchmark.store import Part, Shard
from xai_core.benchmark.worker import Worker
from xai_core.errors import OptionError


class _Actor:
    """Holds a worker, and gives the part of each shard that it is sent."""

    def __init__(self, given: Any) -> None:
        import ray

        self._worker = Worker(ray.get(given))

    def __call__(self, batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[bytes]]:
        shards = [Shard(*map(int, one)) for one in zip(batch["subject"], batch["start"], batch["stop"], strict=True)]
        return {"part": [pickle.dumps(self._worker.run(shard)) for shard in shards]}


def work_through(given: Given, shards: Sequence[Shard], address: str | None, actors: int | None) -> Iterator[Part]:
    """Give the parts as they are done, in any order. An actor or a node that is lost is replaced, and its shard redone.

    Parameters
    ----------
    address
        Of a cluster; without it one is started on this machine, unless the process is connected to one already.
    actors
        How many; one for each GPU, or one for each two processors, if None.

    Raises
    ------
    OptionError
        Where Ray is not installed.
    """
    ray = _connected(address)
    resources = ray.cluster_resources()
    gpus = int(resources.get("GPU", 0)) if given.device.type == "cuda" else 0
    processors = int(resources.get("CPU", 1))
    wanted = actors or gpus or max(1, processors // 2)
    shared = ray.put(given)
    work = ray.data.from_items(
        [{"subject": shard.subject, "start": shard.start, "stop": shard.stop} for shard in shards],
        override_num_blocks=len(shards),
    ).map_batches(
        _Actor,
        fn_constructor_args=(shared,),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(wanted, len(shards))),
        num_gpus=min(1, gpus / wanted) if gpus else 0,
        num_cpus=0 if gpus else min(1, processors / wanted),
    )
    for batch in work.iter_batches(batch_size=1, prefetch_batches=0):
        yield from map(pickle.loads, batch["part"])


def _connected(address: str | None) -> Any:
    """Ray, connected to a cluster and quiet."""
    # A cluster of our own is this process's environment again, and not one that `uv run` makes anew on each worker.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise OptionError("engine=ray needs Ray; `pip install xai-core[ray]`") from None
    if not ray.is_initialized():
        ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray
