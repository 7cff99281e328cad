"""Explains and scores the images of a shard.

An error affects only the rows of the image, method or metric that caused it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from xai_core.benchmarking.failures import is_deterministic
from xai_core.benchmarking.model_session import ModelSession
from xai_core.benchmarking.quarantine import Quarantine
from xai_core.benchmarking.reader import Item, in_one_line
from xai_core.benchmarking.resolve import ResolvedBenchmark
from xai_core.benchmarking.shard_result import ShardResult
from xai_core.configurable import Configurable
from xai_core.errors import TimeLimitError
from xai_core.isolation.error_context import PluginCall, responsible_call
from xai_core.metric import MetricResult
from xai_core.saliency import Saliency


@dataclass(frozen=True)
class Work:
    """A batch, the methods that explain it, and the metrics that score the maps.

    Attributes
    ----------
    items
        Images of one size, all with or all without a ground-truth mask.
    methods, metrics
        Specs of the methods and metrics.
    maps
        The maps by method, or None until the batch is explained.
    """

    items: Sequence[Item]
    methods: Sequence[str]
    metrics: Sequence[str]
    maps: Mapping[str, Saliency] | None = None

    @property
    def called(self) -> Sequence[str]:
        """The specs of the plugins to call next: the methods, or the metrics after the maps are computed."""
        return self.methods if self.maps is None else self.metrics

    def with_methods(self, methods: Sequence[str]) -> "Work":
        """Return the part of this work that concerns these methods."""
        maps = None if self.maps is None else {method: self.maps[method] for method in methods}
        return replace(self, methods=methods, maps=maps)

    def with_metrics(self, metrics: Sequence[str]) -> "Work":
        """Return the part of this work that concerns these metrics."""
        return replace(self, metrics=metrics)

    def calling(self, names: Sequence[str]) -> "Work":
        """Return the part of this work whose next calls are calls of these plugins: see `called`."""
        return self.with_methods(names) if self.maps is None else self.with_metrics(names)


class ShardScorer:
    """Explains and scores the images of one shard.

    Parameters
    ----------
    session
        The model.
    benchmark
        The metrics, and whether they need masks.
    quarantine
        The disabled methods and metrics. Methods and metrics that time out are added.
    result
        Receives the rows, curves, maps and notes.
    begin
        Called with the description of each step, and with its methods, before it begins.
    alone
        Whether each method is called alone.
    """

    def __init__(
        self,
        session: ModelSession,
        benchmark: ResolvedBenchmark,
        quarantine: Quarantine,
        result: ShardResult,
        begin: Callable[[str, Sequence[str]], None] = lambda step, methods: None,
        alone: bool = False,
    ) -> None:
        self._session, self._quarantine, self._result = session, quarantine, result
        self._metrics, self._with_masks = benchmark.metrics, benchmark.with_masks
        self._begin, self._alone = begin, alone
        self._batch_size = result.manifest.batch

    def score(self, items: Sequence[Item]) -> None:
        """Explain and score images with every method and metric."""
        methods, metrics = [*self._session.methods], [*self._metrics]
        for batch in self._batches(items):
            enabled = self._quarantine.enabled(methods)
            for method in methods:
                if method not in enabled:
                    self._result.add_error(batch, [method], metrics, self._quarantine.reason(method) or "")
            compatible = self._compatible(batch, enabled, metrics)
            for together in [[method] for method in compatible] if self._alone else [compatible]:
                self._complete(Work(batch, together, metrics))

    def _batches(self, items: Sequence[Item]) -> Iterator[list[Item]]:
        """Split images into batches of one size, all with or all without a ground-truth mask."""

        def kind(item: Item) -> tuple[bool, tuple[int, ...]]:
            assert item.image is not None
            return item.mask is None, tuple(item.image.shape)

        for _, group in groupby(sorted(items, key=kind), kind):
            remaining = list(group)
            while remaining:
                batch, remaining = remaining[: self._batch_size], remaining[self._batch_size :]
                yield batch

    def _compatible(self, items: Sequence[Item], methods: Sequence[str], metrics: Sequence[str]) -> list[str]:
        """Return the methods that support the model, and store the errors of the others."""
        errors = {}
        self._begin(f"first forward pass of model {self._session.spec}", ())
        for method, error in self._session.incompatible(items, methods):
            errors[method] = error
            self._session.handle_failure(error)
            self._give_up(Work(items, [method], metrics), error)
        return [method for method in methods if method not in errors]

    def _complete(self, work: Work) -> None:
        """Explain and score. After an error, split the work until each error concerns a single row."""
        for part in self._enabled_parts(work):
            maps, results = part.maps, None
            remaining: Iterable[Work]
            self._begin(f"forward passes for {', '.join(part.methods)}", part.methods)
            try:
                if maps is None:
                    maps = self._session.explain(part.items, part.methods)
                else:
                    results = self._session.evaluate(part.items, maps, part.metrics)
            except Exception as error:
                _, memory_ran_out = self._session.handle_failure(error)
                remaining = self._after_error(part, error, memory_ran_out)
            else:
                remaining = self._after_success(part, maps, results)
            for smaller in remaining:
                self._complete(smaller)

    def _enabled_parts(self, work: Work) -> Iterator[Work]:
        """Split work into parts that can be computed, and store why the rest cannot."""
        if work.maps is None:
            yield from [work] if work.methods else []
            return
        metrics = work.metrics
        if work.items[0].mask is None:
            unknown = [metric for metric in metrics if metric in self._with_masks]
            for item in work.items:
                self._result.add_error([item], work.methods, unknown, item.no_mask)
            metrics = [metric for metric in metrics if metric not in unknown]
        methods_of: dict[tuple[str, ...], list[str]] = {}
        for method in work.methods:
            reasons = {metric: self._quarantine.reason(method, metric) for metric in metrics}
            for metric, reason in reasons.items():
                if reason is not None:
                    self._result.add_error(work.items, [method], [metric], reason)
            enabled = tuple(metric for metric, reason in reasons.items() if reason is None)
            methods_of.setdefault(enabled, []).append(method)
        for enabled, methods in methods_of.items():
            if enabled:
                yield work.with_methods(methods).with_metrics(enabled)

    def _after_success(
        self, work: Work, maps: Mapping[str, Saliency], results: Mapping[str, Mapping[str, MetricResult]] | None
    ) -> Iterable[Work]:
        """Store the maps and return the work that scores them, or store the results."""
        if results is None:
            self._result.add_maps(work.items, maps)
            return [replace(work, maps=maps)]
        for method, saliency in maps.items():
            self._result.add_scores(work.items, method, saliency, results[method])
        return []

    def _after_error(self, work: Work, error: Exception, memory_ran_out: bool) -> Iterator[Work]:
        """Iterate over the work to try next.

        1. If memory ran out and the method or metric is unknown or already runs alone, retry with smaller batches.
        2. If a known method or metric fails for every image, store its error and continue without it.
        3. Separate the method or metric that raised the error from the others. If the error does not name it, bisect.
        4. Bisect the methods whose maps are scored.
        5. Retry with single images.
        6. Give up, and store the error.
        """
        call = responsible_call(error)
        culprits = [name for name in work.called if call and self._object(work, name) is call.plugin_object]
        others = [name for name in work.called if name not in culprits]
        if memory_ran_out and len(work.items) > 1 and not (culprits and others):
            yield from self._smaller_batches(work, *culprits)
        elif call and culprits and is_deterministic(error):
            yield from self._without(work, call, culprits, others, error)
        elif len(work.called) > 1:
            for names in (others, culprits) if culprits else _halves(work.called):
                yield work.calling(names)
        elif len(work.methods) > 1:
            for methods in _halves(work.methods):
                yield work.with_methods(methods)
        elif len(work.items) > 1:
            for item in work.items:
                yield replace(work, items=[item], maps=None)
        else:
            self._give_up(work, error)

    def _smaller_batches(self, work: Work, plugin: str = "") -> Iterator[Work]:
        """Explain again in batches of half the size: one plugin now, or everything in the rest of the shard."""
        half = len(work.items) // 2
        if not plugin:
            self._batch_size = min(self._batch_size, half)
        subject = plugin or self._session.spec
        note = f"out of memory: {subject} continues with batches of {half} images instead of {len(work.items)}"
        self._result.notes.append(note)
        for start in range(0, len(work.items), half):
            yield replace(work, items=work.items[start : start + half], maps=None)

    def _without(
        self, work: Work, call: PluginCall, culprits: Sequence[str], others: Sequence[str], error: Exception
    ) -> Iterator[Work]:
        """Give up a method, or a metric on the maps of one method, and continue with everything else."""
        if work.maps is None:
            self._give_up(work.with_methods(culprits), error)
            yield work.with_methods(others)
        else:
            self._give_up(work.with_metrics(culprits).with_methods([call.maps]), error)
            yield work.with_metrics(others)
            yield work.with_metrics(culprits).with_methods([name for name in work.methods if name != call.maps])

    def _give_up(self, work: Work, error: Exception) -> None:
        """Store the error of a method, or of a metric on its maps. After a timeout, disable the method or metric."""
        [method], metric = work.methods, work.metrics[0]
        message, call = in_one_line(error), responsible_call(error)
        self._result.add_error(work.items, [method], work.metrics, message)
        if not isinstance(error, TimeLimitError):
            return
        if not call or call.kind != "metric":
            self._quarantine.disable_for_model(method, "", message)
            return
        self._quarantine.disable_for_model(method, metric, message)
        if self._quarantine.times_disabled(metric) > 1:  # after one timeout, the method may be the cause
            self._quarantine.disable_for_model("", metric, message)

    def _object(self, work: Work, name: str) -> Configurable:
        """Return the explainer or metric with this spec."""
        return self._session.methods[name] if work.maps is None else self._metrics[name]


def _halves(names: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    return names[: len(names) // 2], names[len(names) // 2 :]
