"""Runs a worker in a separate process, and replaces it if it ends or does not respond."""

import contextlib
import sys
import warnings
from collections import Counter
from dataclasses import replace
from typing import Self

import torch

from xai_core.benchmarking.activity import PLANNING, START, Activity, Blame
from xai_core.benchmarking.orders import Begin, Resolve, Resolved, TorchSettings, Work
from xai_core.benchmarking.plan import Plan, pickled
from xai_core.benchmarking.process import ForkServer, Process, WorkerEndedError
from xai_core.benchmarking.resolve import code_hashes
from xai_core.benchmarking.settings import Settings
from xai_core.benchmarking.shards import Shard, ShardFiles
from xai_core.errors import WorkerError

DEATHS = 2
"""The number of times that a worker ends during the same activity until this activity is blamed."""


class SupervisedWorker:
    """A worker in a separate process, which can be killed. It is replaced when it ends.

    A method, metric, image or model that ends the process, or does not respond to its time limit, is excluded. If the
    process ends for the first time, the shard is computed again, because the cause may be outside of it.
    """

    def __init__(self) -> None:
        self._server = ForkServer()
        self._process: Process | None = None
        self._plan: Plan | None = None
        self._blames: list[Blame] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def plan(self, settings: Settings, device: torch.device, probe_device: torch.device, workers: int = 2) -> Plan:
        """Resolve settings in the worker, and begin the benchmark: see `resolve`.

        Raises
        ------
        XAIError
            If a name, an option or a file is wrong, if no image can be read, or if an object cannot be pickled.
        WorkerError
            If the process ends repeatedly during a step that the benchmark needs.
        """
        code, path, torch_settings = code_hashes(settings), *_surroundings()
        order = Resolve(pickled(settings), code, device, probe_device, workers, {}, path, torch_settings)
        deaths: Counter[str] = Counter()
        while True:
            try:
                self._process = self._server.fork()
                resolved = self._process.ask(order)
            except WorkerEndedError as end:
                self._replace()
                step = end.activity.description
                deaths[step] += 1
                if not end.certain and deaths[step] < DEATHS:
                    continue
                if end.activity in (START, PLANNING) or step in order.ended:
                    raise _ended(end.reason) from None
                order = replace(order, ended={**order.ended, step: end.reason})
            except WorkerError as error:
                raise _ended(str(error)) from None
            else:
                assert isinstance(resolved, Resolved)
                self._plan = resolved.plan
                for category, message, file, line in resolved.warnings:
                    warnings.warn_explicit(message, category, file, line)
                return resolved.plan

    def begin(self, plan: Plan) -> None:
        """Begin a planned benchmark."""
        self._plan = plan
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
                files = self._begun().ask(Work(shard, following, alone, in_threads=not deaths))
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
                    raise _ended(end.reason) from None
            else:
                assert isinstance(files, ShardFiles)
                return files

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
            assert self._plan is not None
            order = Begin(self._plan, tuple(self._blames), *_surroundings())
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


def _ended(reason: str) -> WorkerError:
    return WorkerError(
        f"the worker ended {DEATHS} times ({reason}); repeat the same command to resume, or use in_process=True to "
        "debug it"
    )


def _surroundings() -> tuple[tuple[str, ...], TorchSettings]:
    return tuple(sys.path), TorchSettings.current()
