"""Works through shards: loads their model, reads their images, and looks for memory leaks between them."""

import gc
from collections.abc import Callable, Sequence

import torch

from xai_core.benchmarking.activity import Activity, Blame, ThreadActivity
from xai_core.benchmarking.leaks import MemoryGrowth, find_leaks
from xai_core.benchmarking.model_session import ModelSession
from xai_core.benchmarking.quarantine import Quarantine
from xai_core.benchmarking.reader import Item, Reader, unread
from xai_core.benchmarking.resolve import ResolvedBenchmark
from xai_core.benchmarking.shard_result import ShardResult
from xai_core.benchmarking.shard_scorer import ShardScorer
from xai_core.benchmarking.shards import Shard, ShardFiles
from xai_core.isolation.current_call import reporting
from xai_core.isolation.error_context import PluginCall

STAGES = 3
"""The number of limited calls in which an image is read: the dataset, the preprocessing, and the ground-truth mask."""


class Worker:
    """Works through shards of a benchmark, with one model in memory at a time.

    Parameters
    ----------
    benchmark
        The benchmark.
    blames
        The causes that ended earlier workers, and are therefore excluded.
    report
        Called with every activity before it begins, and when a thread begins or ends to read an image.
    """

    def __init__(
        self,
        benchmark: ResolvedBenchmark,
        blames: Sequence[Blame] = (),
        report: Callable[[Activity | ThreadActivity], None] = lambda activity: None,
    ) -> None:
        torch.set_num_threads(benchmark.threads)
        self._benchmark, self._blames, self._send = benchmark, blames, report
        self._session: ModelSession | None = None
        self._reader: Reader | None = None
        self._quarantine, self._growth = Quarantine(), MemoryGrowth(benchmark.device)

    def run(
        self, shard: Shard, following: Shard | None = None, alone: bool = False, in_threads: bool = True
    ) -> ShardFiles:
        """Explain and score a shard's images with every method and metric.

        Meanwhile, threads read the images of the following shard, if it has the same model.

        Parameters
        ----------
        shard, following
            The shard, and the shard that follows.
        alone
            Whether each method is called alone.
        in_threads
            Whether several threads read the images, or this thread reads one after the other.
        """
        if shard.model_index in self._benchmark.failures:
            return self._failed(shard, f"WorkerError: {self._benchmark.failures[shard.model_index]}")
        for blame in self._blames:
            if blame == Blame(shard.model_index, blame.reason):
                return self._failed(shard, f"WorkerError: {blame.reason}")
        with reporting(self._report):
            return self._run(shard, following, alone, in_threads)

    def _run(self, shard: Shard, following: Shard | None, alone: bool, in_threads: bool) -> ShardFiles:
        self._begin_step(f"loading of model {self._benchmark.manifest.models[shard.model_index].spec}")
        session, reader = self._of_model(shard.model_index)
        with session.without_plugins():
            items = self._read(reader, range(shard.start, shard.stop), in_threads)
        if following is not None and following.model_index == shard.model_index:
            reader.start(range(following.start, following.stop))
        methods, metrics = [*session.methods], [*self._benchmark.metrics]
        result = ShardResult(self._benchmark.manifest, session.spec)
        valid = []
        for item in items:
            error = item.error or session.missing(item)
            if error:
                result.add_error([item], methods, metrics, error)
            else:
                valid.append(item)
        ShardScorer(session, self._benchmark, self._quarantine, result, self._begin_step, alone).score(valid)
        if valid and self._growth.exceeded():
            reader.wait()
            self._disable_leaks(session, valid, result)
        result.notes += session.notes
        session.notes.clear()
        return result.files(shard, items, methods, metrics)

    def close(self) -> None:
        """Release the model, and stop reading."""
        if self._reader is not None:
            self._reader.close()
            self._session = self._reader = None
            gc.collect()  # maps and their engine refer to each other

    def _of_model(self, index: int) -> tuple[ModelSession, Reader]:
        if self._session is None or self._reader is None or self._session.index != index:
            self.close()
            self._session = ModelSession(self._benchmark, index)
            self._quarantine.next_model()
            unreadable = {}
            for blame in self._blames:
                reason = f"WorkerError: {blame.reason}"
                if blame.model_index == index and blame.image is not None:
                    unreadable[blame.image] = reason
                elif blame.model_index == index:
                    self._quarantine.disable_for_model(blame.method, blame.metric, reason)
            self._reader = self._benchmark.reader(
                index, self._session.loaded, unreadable=unreadable, report=self._report_thread
            )
            self._growth.restart()
        return self._session, self._reader

    def _failed(self, shard: Shard, error: str) -> ShardFiles:
        """Return the files of a shard whose model ends the process."""
        manifest, metrics = self._benchmark.manifest, [*self._benchmark.metrics]
        model = manifest.models[shard.model_index]
        items = [unread(self._benchmark.data, index, error) for index in range(shard.start, shard.stop)]
        result = ShardResult(manifest, model.spec)
        result.add_error(items, model.methods, metrics, error)
        return result.files(shard, items, model.methods, metrics)

    def _read(self, reader: Reader, images: Sequence[int], in_threads: bool) -> list[Item]:
        if in_threads:
            self._send(Activity(f"reading of images {images[0]} to {images[-1]}"))
            return reader.take(images)
        items = []
        for image in images:
            self._send(self._reading(image, STAGES))
            items.append(reader.read(image))
        return items

    def _reading(self, image: int, stages: int) -> Activity:
        seconds = self._benchmark.manifest.time_limit * stages
        return Activity(f"reading of image {image}", image=image, seconds=seconds)

    def _report_thread(self, image: int, begins: bool) -> None:
        waiting = self._benchmark.workers - 1  # for a dataset that only one thread at a time may read
        self._send(ThreadActivity(self._reading(image, STAGES + waiting), ended=not begins))

    def _begin_step(self, description: str, methods: Sequence[str] = ()) -> None:
        self._step = Activity(description, tuple(methods), of_model=not methods)
        self._send(self._step)

    def _report(self, call: PluginCall | None, seconds: float | None) -> None:
        if call is None or self._session is None:
            self._send(self._step)
            return
        method, metric = self._session.names(call)
        methods = (method,) if method else self._step.methods
        self._send(Activity(call.description, methods, metric, seconds=seconds))

    def _disable_leaks(self, session: ModelSession, items: list[Item], result: ShardResult) -> None:
        """Find the methods and metrics that keep tensors, and disable them for the rest of the run."""
        leaks = find_leaks(session, items, self._quarantine.enabled(session.methods), self._benchmark.metrics)
        for leak in leaks:
            of_metric = leak.call.kind == "metric"
            method, metric = ("", leak.call.key) if of_metric else (leak.call.key, "")
            self._quarantine.disable_for_run(method, metric, leak.description)
            result.notes.append(f"disabled: {leak.description}")
        self._growth.restart(1 if leaks else 2)
