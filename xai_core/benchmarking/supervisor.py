"""Runs a worker in a process of its own, and replaces it if it ends or does not respond."""

import contextlib
import sys
from collections import Counter
from typing import Self

from xai_core.benchmarking.activity import Activity, Blame
from xai_core.benchmarking.orders import Begin, TorchSettings, Work
from xai_core.benchmarking.process import ForkServer, Process, WorkerEndedError
from xai_core.benchmarking.reader import in_one_line
from xai_core.benchmarking.resolve import ResolvedBenchmark
from xai_core.benchmarking.shards import Shard, ShardFiles
from xai_core.errors import OptionError, WorkerError

DEATHS = 2
"""The number of times that a worker ends during the same activity until this activity is blamed."""


class SupervisedWorker:
    """A worker in a process of its own, which can be killed. It is replaced when it ends.

    A method, metric, image or model that ends the process, or does not respond to its time limit, is excluded. If the
    process ends for the first time, the shard is computed again, because the cause may be outside of it.
    """

    def __init__(self) -> None:
        self._server = ForkServer()
        self._process: Process | None = None
        self._benchmark: ResolvedBenchmark | None = None
        self._blames: list[Blame] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, benchmark: ResolvedBenchmark) -> None:
        """Begin a benchmark.

        Raises
        ------
        OptionError
            If an object cannot be pickled.
        """
        self._benchmark = benchmark
        with contextlib.suppress(WorkerEndedError):  # `run` replaces the worker
            self._begun()

    def run(self, shard: Shard, following: Shard | None = None) -> ShardFiles:
        """Explain and score a shard's images: see `Worker.run`.

        Raises
        ------
        WorkerError
            If the process ends repeatedly, and nothing can be blamed.
        """
        deaths: Counter[Activity] = Counter()
        alone = False
        while True:
            try:
                return self._begun().run(Work(shard, following, alone, in_threads=not deaths))
            except WorkerEndedError as end:
                self._replace()
                following = None  # reading its images may be the cause
                deaths[end.activity] += 1
                if not end.certain and deaths[end.activity] < DEATHS:
                    continue
                if blames := self._blames_for(shard.model_index, end):
                    self._blames += blames
                elif end.activity.methods and not alone:
                    alone = True
                else:
                    raise WorkerError(
                        f"the worker ended {DEATHS} times ({end.reason}); repeat the same command to resume, or use "
                        "in_process=True to debug it"
                    ) from None

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
        self._server.close()

    def _replace(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process = None
        if self._server.ended:
            self._server.close()
            self._server = ForkServer()

    def _begun(self) -> Process:
        """Return the process, which is started if there is none."""
        if self._process is None:
            assert self._benchmark is not None
            order = Begin(_pickled(self._benchmark), tuple(self._blames), *_surroundings())
            self._process = self._server.fork()
            self._process.send(order)
        return self._process

    def _blames_for(self, model_index: int, end: WorkerEndedError) -> list[Blame]:
        """Return what to exclude after a worker has ended, or an empty list if the cause is not known."""
        activity, metric = end.activity, end.activity.metric
        if activity.image is not None or activity.of_model:
            return [Blame(model_index, end.reason, image=activity.image)]
        if len(activity.methods) != 1:
            return []
        blames = [Blame(model_index, end.reason, *activity.methods, metric)]
        if metric and any((blame.model_index, blame.metric) == (model_index, metric) for blame in self._blames):
            blames.append(Blame(model_index, end.reason, "", metric))  # after one method, its maps may be the cause
        return blames


def _pickled(benchmark: ResolvedBenchmark) -> bytes:
    import cloudpickle

    try:
        pickled: bytes = cloudpickle.dumps(benchmark)
    except Exception as error:
        raise OptionError(
            f"cannot send the models, data, methods or metrics to the worker process ({in_one_line(error)[:200]}); "
            "pass specs, or objects that can be pickled, or use in_process=True"
        ) from error
    return pickled


def _surroundings() -> tuple[tuple[str, ...], TorchSettings]:
    return tuple(sys.path), TorchSettings.current()
