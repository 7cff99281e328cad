"""Works through shards on a Ray cluster: Ray Data over actors that hold a model each."""

import logging
import os
import pickle
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from xai_core.benchmarking.reader import in_one_line
from xai_core.benchmarking.resolve import ResolvedBenchmark
from xai_core.benchmarking.store import Part, Shard
from xai_core.benchmarking.worker import Worker
from xai_core.errors import OptionError

RESTARTS = 10
"""How often an actor is started again, and how often a shard is done again, before the run ends."""


class _Actor:
    """Holds a worker, and gives the part of each shard that it is sent."""

    def __init__(self, given: Any) -> None:
        import ray

        self._worker = Worker(ray.get(given))

    def __call__(self, batch: dict[str, np.ndarray[Any, Any]]) -> dict[str, list[bytes]]:
        shards = [Shard(*map(int, one)) for one in zip(batch["subject"], batch["start"], batch["stop"], strict=True)]
        return {"part": [pickle.dumps(self._worker.run(shard)) for shard in shards]}


class Cluster:
    """A Ray cluster that this process is connected to."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        resources = ray.cluster_resources()
        self._gpus, self._processors = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))

    def device(self, name: str | None) -> torch.device:
        """The kind of device that actors work on, by default GPUs where the cluster has some.

        Raises
        ------
        OptionError
            Where the cluster has none of that name.
        """
        wanted = name or ("cuda" if self._gpus else "cpu")
        if wanted not in ("cpu", "cuda")[: 2 if self._gpus else 1]:
            there = "cpu or cuda" if self._gpus else "cpu, as the cluster has no GPU"
            raise OptionError(f"device={name!r} cannot be used with engine=ray; expected {there}")
        return torch.device(wanted)

    def send(self, given: ResolvedBenchmark) -> Any:
        """Put where actors can read it what they work with.

        Raises
        ------
        OptionError
            Where it holds what cannot be pickled.
        """
        try:
            return self._ray.put(given)
        except Exception as error:
            raise OptionError(
                f"engine=ray cannot send models, data, methods or metrics to its actors ({in_one_line(error)[:200]});"
                " give specs, or objects that can be pickled"
            ) from error

    def work_through(
        self, sent: Any, shards: Sequence[Shard], gpus: bool, actors: int | None
    ) -> Generator[Part, None, None]:
        """Give the parts as they are done, in any order. An actor or a node that is lost is replaced, and its shard
        redone.

        Parameters
        ----------
        sent
            What `send` returned.
        gpus
            Whether the work is for GPUs.
        actors
            How many; one for each GPU, or one for each two processors, if None.
        """
        have = self._gpus if gpus else 0
        wanted = actors or have or max(1, self._processors // 2)
        data = self._ray.data
        asked = data.from_items(
            [{"subject": shard.subject, "start": shard.start, "stop": shard.stop} for shard in shards],
            override_num_blocks=len(shards),
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`ray_remote_args` is deprecated")  # there is no other bound on restarts
            work = asked.map_batches(
                _Actor,
                fn_constructor_args=(sent,),
                batch_size=1,
                compute=data.ActorPoolStrategy(size=min(wanted, len(shards))),
                num_gpus=min(1, have / wanted) if have else 0,
                num_cpus=0 if have else min(1, self._processors / wanted),
                max_restarts=RESTARTS,
                max_task_retries=RESTARTS,
            )
        for batch in work.iter_batches(batch_size=1, prefetch_batches=0):
            yield from map(pickle.loads, batch["part"])


@contextmanager
def connected(address: str | None) -> Iterator[Cluster]:
    """Connect to a cluster; a connection that is made here is ended here.

    Parameters
    ----------
    address
        Of a cluster; without it one is started on this machine, unless the process is connected to one already.

    Raises
    ------
    OptionError
        Where Ray is not installed, or no cluster is there.
    """
    # A cluster of our own is this process's environment again, and not one that `uv run` makes anew on each worker.
    os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise OptionError("engine=ray needs Ray; `pip install xai-core[ray]`") from None
    ours = not ray.is_initialized()
    if ours:
        try:
            ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
        except Exception as error:
            raise OptionError(f"no Ray cluster at {address or 'this machine'} ({in_one_line(error)[:200]})") from error
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        yield Cluster(ray)
    finally:
        if ours:
            ray.shutdown()
