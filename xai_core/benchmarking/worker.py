"""Explains and scores the images of a shard; what fails, loops or leaks costs its own rows."""

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import torch

from xai_core.benchmarking.failures import failure, whatever_the_image
from xai_core.benchmarking.heard import heard
from xai_core.benchmarking.leaks import Growth, first_given, leaking
from xai_core.benchmarking.quarantine import Quarantine
from xai_core.benchmarking.reader import Item, Reader
from xai_core.benchmarking.resolve import ResolvedBenchmark
from xai_core.benchmarking.shard_result import ShardResult
from xai_core.benchmarking.store import Part, Shard
from xai_core.benchmarking.weight_backup import WeightBackup
from xai_core.configurable import Configurable
from xai_core.engine import Engine
from xai_core.errors import TimeLimitError
from xai_core.isolation.error_context import PluginCall, responsible_call, weights_changed
from xai_core.isolation.guard import Guard
from xai_core.isolation.model_state import ModelStateMonitor
from xai_core.metric import MetricResult
from xai_core.model.execution import unwrapped
from xai_core.plugins.registry import origin
from xai_core.saliency import Saliency


class Worker:
    """Works through shards, and holds one model at a time."""

    def __init__(self, given: ResolvedBenchmark) -> None:
        torch.set_num_threads(given.threads)
        self._given, self._manifest = given, given.manifest
        self._batch = given.manifest.batch
        self._subject: int | None = None
        self._aside, self._growth = Quarantine(), Growth(given.device)
        self._notes: dict[str, None] = {}

    def start(self, shard: Shard) -> None:
        """Read ahead the images of the shard that comes next, where it is for the model at hand."""
        if shard.subject == self._subject:
            self._reader.start(range(shard.start, shard.stop))

    def run(self, shard: Shard, following: Shard | None = None) -> Part:
        """Explain and score a shard's images by every method and metric, while those of the following one are read."""
        self._hold(shard.subject)
        self._batch = self._manifest.batch
        found = ShardResult(self._manifest, self._spec)
        items = self._reader.take(range(shard.start, shard.stop))
        if following is not None:
            self.start(following)
        methods, metrics = [*self._methods], [*self._given.metrics]
        known = []
        for item in items:
            error = item.error or self._without_label(item)
            if error:
                found.fail([item], methods, metrics, error)
            else:
                known.append(item)
        for batch in self._batches(known):
            left = self._aside.left(methods)
            for method in methods:
                if method not in left:
                    found.fail(batch, [method], metrics, self._aside.why(method) or "")
            self._measure(found, batch, self._suited(found, batch, left, metrics), metrics)
        if known and self._growth.exceeded():
            self._find_leaks(found, known, methods, metrics)
        found.notes += self._notes
        self._notes.clear()
        return found.part(shard, items, self._methods, metrics)

    def close(self) -> None:
        """Let go of the model, and stop reading."""
        if self._subject is not None:
            self._subject = None
            self._reader.close()
            del self._loaded, self._engine, self._reader, self._weights
            gc.collect()  # maps hold the engine in a circle

    def _hold(self, subject: int) -> None:
        if subject == self._subject:
            return
        self.close()
        self._spec, self._methods = self._manifest.subjects[subject].model, self._given.methods[subject]
        loaded = self._given.load(subject)
        self._weights = WeightBackup(loaded.model, self._spec, self._manifest.subjects[subject].weights)
        self._loaded = loaded
        self._engine = Engine(self._loaded, time_limit=self._manifest.time_limit)
        self._reader = Reader(self._given.data, self._loaded, self._given.workers)
        self._subject = subject
        self._aside.next_model()
        self._growth.start()

    def _without_label(self, item: Item) -> str | None:
        missing = self._manifest.target == "label" and item.label is None
        return "TargetError: the image has no label, which target=label explains" if missing else None

    def _batches(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        """Items of one size, all with or all without a known truth, as many as go through a pass."""

        def kind(item: Item) -> tuple[bool, tuple[int, ...]]:
            assert item.image is not None
            return item.mask is None, tuple(item.image.shape)

        for _, alike in groupby(sorted(items, key=kind), kind):
            left = list(alike)
            while left:
                batch, left = left[: self._batch], left[self._batch :]
                yield batch

    def _suited(
        self, found: ShardResult, items: Sequence[Item], methods: Sequence[str], metrics: Sequence[str]
    ) -> list[str]:
        """The methods that are defined for the model, which share a pass; of the others, rows that say why not."""
        assert items[0].image is not None
        try:
            with self._precision():
                adapter = self._engine.adapter(items[0].image[None])
        except Exception:
            return [*methods]  # it is the model or the image that fails, as each method will
        suited = []
        guard = Guard(ModelStateMonitor.of(unwrapped(self._loaded.model)), self._manifest.time_limit)
        for method in methods:
            explainer = self._methods[method]
            try:
                with guard.around(PluginCall("explainer", method, explainer, origin(explainer))):
                    explainer.needs(adapter)
            except Exception as error:
                self._failure(error)
                self._give_up(found, items, method, metrics, error)
            else:
                suited.append(method)
        return suited

    def _measure(
        self, found: ShardResult, items: Sequence[Item], methods: Sequence[str], metrics: Sequence[str]
    ) -> None:
        """Explain and score; where that fails, go on without the method that did, and try that one by image.

        Where it is not known which did, try with half the methods.
        """
        if not methods:
            return
        try:
            maps = self._explain(items, methods)
        except Exception as raised:
            error, full = raised, self._failure(raised)[1]
        else:
            found.keep_maps(items, maps)
            self._score(found, items, maps, metrics)
            return
        call = responsible_call(error)
        failed = [method for method in methods if call and self._methods[method] is call.plugin_object]
        rest = [method for method in methods if method not in failed]
        if full and len(items) > 1:
            self._measure_fewer(found, items, methods, metrics)
        elif failed and whatever_the_image(error):
            self._give_up(found, items, failed[0], metrics, error)
            self._measure(found, items, rest, metrics)
        elif len(methods) > 1:
            for some in (failed, rest) if failed else _halves(methods):
                self._measure(found, items, some, metrics)
        elif len(items) > 1:
            for item in items:
                self._measure(found, [item], methods, metrics)
        else:
            self._give_up(found, items, methods[0], metrics, error)

    def _measure_fewer(
        self, found: ShardResult, items: Sequence[Item], methods: Sequence[str], metrics: Sequence[str]
    ) -> None:
        """Go on with half as many images at once, to the end of the shard."""
        half = len(items) // 2
        self._batch = min(self._batch, half)
        found.notes.append(f"out of memory: {self._spec} goes on with {half} images at once, not {len(items)}")
        left = items
        while left:
            some, left = left[: self._batch], left[self._batch :]
            self._measure(found, some, methods, metrics)

    def _score(
        self, found: ShardResult, items: Sequence[Item], maps: Mapping[str, Saliency], metrics: Sequence[str]
    ) -> None:
        """Score maps; where that fails, try with half the metrics, half the methods and by image."""
        if items[0].mask is None:
            unknown = [metric for metric in metrics if self._given.metrics[metric].needs_ground_truth]
            for item in items:
                found.fail([item], [*maps], unknown, item.no_mask)
            metrics = [metric for metric in metrics if metric not in unknown]
        open_to: dict[tuple[str, ...], list[str]] = {}
        for method in maps:
            left = tuple(metric for metric in metrics if self._aside.why(method, metric) is None)
            for metric in metrics:
                if metric not in left:
                    found.fail(items, [method], [metric], self._aside.why(method, metric) or "")
            open_to.setdefault(left, []).append(method)
        for left, named in open_to.items():
            if left:
                self._score_all(found, items, {method: maps[method] for method in named}, left)

    def _score_all(
        self, found: ShardResult, items: Sequence[Item], maps: Mapping[str, Saliency], metrics: Sequence[str]
    ) -> None:
        """Score maps by all these metrics; where one fails, it alone, and then by method and by image."""
        try:
            scores = self._evaluate(items, maps, metrics)
        except Exception as raised:
            error, full = raised, self._failure(raised)[1]
        else:
            for (method, saliency), scored in zip(maps.items(), scores, strict=True):
                found.keep(items, method, saliency, dict(zip(metrics, scored, strict=True)))
            return
        call = responsible_call(error)
        failed = [metric for metric in metrics if call and self._given.metrics[metric] is call.plugin_object]
        rest = [metric for metric in metrics if metric not in failed]
        if full and len(items) > 1:
            self._measure_fewer(found, items, [*maps], metrics)
        elif failed and call and whatever_the_image(error):
            self._give_up(found, items, call.maps, failed, error)
            self._score(found, items, maps, rest)
            self._score(found, items, {name: one for name, one in maps.items() if name != call.maps}, failed)
        elif len(metrics) > 1:
            for some in (rest, failed) if failed else _halves(metrics):
                self._score(found, items, maps, some)
        elif len(maps) > 1:
            for named in _halves([*maps]):
                self._score(found, items, {method: maps[method] for method in named}, metrics)
        elif len(items) > 1:
            for item in items:
                self._measure(found, [item], [*maps], metrics)
        else:
            self._give_up(found, items, next(iter(maps)), metrics, error)

    def _give_up(
        self, found: ShardResult, items: Sequence[Item], method: str, metrics: Sequence[str], error: Exception
    ) -> None:
        """Keep why there is no number, and set aside what was too slow."""
        said, call = failure(error)[0], responsible_call(error)
        found.fail(items, [method], metrics, said)
        if isinstance(error, TimeLimitError):
            if call and call.kind == "metric":
                self._aside.set_for_model(method, metrics[0], said)
                if self._aside.times(metrics[0]) > 1:  # with one, it may be that method
                    self._aside.set_for_model("", metrics[0], said)
            else:
                self._aside.set_for_model(method, "", said)

    def _failure(self, error: Exception) -> tuple[str, bool]:
        """What failed, in one line, and whether it was for want of memory; weights that were changed are put back."""
        said, full = failure(error)
        if weights_changed(error):
            self._weights.put_back(said)
        return said, full

    def _find_leaks(
        self, found: ShardResult, items: Sequence[Item], methods: Sequence[str], metrics: Sequence[str]
    ) -> None:
        """Set aside, for the run, what keeps tensors for each image."""
        self._reader.wait()
        some = [items[number % len(items)] for number in range(3)]
        explain = {
            name: [partial(self._explain, [item], [name]) for item in some] for name in self._aside.left(methods)
        }
        keeping = leaking(explain, self._failure)
        leaks: list[tuple[str, str, Configurable, int]]
        leaks = [("explainer", name, self._methods[name], kept) for name, kept in keeping.items()]
        maps = first_given((calls for name, calls in explain.items() if name not in keeping), self._failure)
        if maps:
            pairs = [*zip(some, maps, strict=True)]
            score = {name: [partial(self._evaluate, [item], one, [name]) for item, one in pairs] for name in metrics}
            keeping = leaking(score, self._failure)
            leaks += [("metric", name, self._given.metrics[name], kept) for name, kept in keeping.items()]
        for kind, name, made, kept in leaks:
            why = f"{PluginCall(kind, name, made, origin(made)).description} keeps {kept / 2**20:.1f} MiB for each image, for good"
            self._aside.set_for_run("" if kind == "metric" else name, name if kind == "metric" else "", why)
            found.notes.append(f"set aside: {why}")
        self._growth.start(1 if leaks else 2)

    def _explain(self, items: Sequence[Item], methods: Sequence[str]) -> dict[str, Saliency]:
        images = torch.stack([item.image for item in items if item.image is not None])
        targets = [item.label for item in items if item.label is not None] if self._manifest.target == "label" else None
        with self._precision(), heard(self._notes):
            explainers = [self._methods[method] for method in methods]
            maps = self._engine.explain(images, explainers, targets, costs=True)
        return dict(zip(methods, maps.values(), strict=True))

    def _evaluate(
        self, items: Sequence[Item], maps: Mapping[str, Saliency], metrics: Sequence[str]
    ) -> list[list[MetricResult]]:
        images = torch.stack([item.image for item in items if item.image is not None])
        masks = None if items[0].mask is None else torch.stack([item.mask for item in items if item.mask is not None])
        with self._precision(), heard(self._notes):
            scores = self._engine.evaluate(images, maps, [self._given.metrics[name] for name in metrics], masks)
        return [[*scored.values()] for scored in scores.values()]

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        precision = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self._manifest.precision)
        return torch.autocast(self._given.device.type, precision) if precision else contextlib.nullcontext()


def _halves(names: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    return names[: len(names) // 2], names[len(names) // 2 :]
