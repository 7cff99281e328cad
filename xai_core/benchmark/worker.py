"""Explains and scores the images of a shard; what fails costs its own rows."""

import contextlib
import gc
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import torch

from xai_core.benchmark.manifest import weights_hash
from xai_core.benchmark.preparation import Given
from xai_core.benchmark.reader import Item, Reader, in_one_line
from xai_core.benchmark.rows import Curve, Row, encode_curves, encode_maps, encode_rows
from xai_core.benchmark.store import Part, Shard
from xai_core.engine import Engine
from xai_core.errors import CheckpointError, DegenerateMapWarning, DeviceError
from xai_core.metric import Score
from xai_core.perturb import out_of_memory
from xai_core.saliency import Saliency
from xai_core.target import Target


@dataclass
class _Found:
    """What a shard came to, by image, method and metric."""

    rows: dict[tuple[int, str, str], Row] = field(default_factory=dict)
    curves: dict[tuple[int, str, str], Curve] = field(default_factory=dict)
    maps: dict[tuple[int, str], np.ndarray[Any, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class Worker:
    """Works through shards, and holds one model at a time."""

    def __init__(self, given: Given) -> None:
        torch.set_num_threads(given.threads)
        self._given, self._manifest = given, given.manifest
        self._batch = given.manifest.batch
        self._subject: int | None = None

    def start(self, shard: Shard) -> None:
        """Read ahead the images of the shard that comes next, where it is for the model at hand."""
        if shard.subject == self._subject:
            self._reader.start(range(shard.start, shard.stop))

    def run(self, shard: Shard, following: Shard | None = None) -> Part:
        """Explain and score a shard's images by every method and metric, while those of the following one are read."""
        self._hold(shard.subject)
        self._batch = self._manifest.batch
        found = _Found()
        items = self._reader.take(range(shard.start, shard.stop))
        if following is not None:
            self.start(following)
        methods, metrics = [*self._methods], [*self._given.metrics]
        known = []
        for item in items:
            error = item.error or self._without_label(item)
            if error:
                self._fail(found, [item], methods, metrics, error)
            else:
                known.append(item)
        for batch in self._batches(known):
            self._measure(found, batch, self._suited(found, batch, methods, metrics), metrics)
        return self._part(shard, items, found)

    def close(self) -> None:
        """Let go of the model, and stop reading."""
        if self._subject is not None:
            self._subject = None
            self._reader.close()
            del self._loaded, self._engine, self._reader
            gc.collect()  # maps hold the engine in a circle

    def _hold(self, subject: int) -> None:
        if subject == self._subject:
            return
        self.close()
        self._spec, self._methods = self._manifest.subjects[subject].model, self._given.methods[subject]
        loaded = self._given.load(subject)
        if weights_hash(loaded.model) != self._manifest.subjects[subject].weights:
            raise CheckpointError(
                f"{self._spec} was loaded again with other weights than the run's: they are random at each load; give"
                " weights=, a seed or a file, or a LoadedModel"
            )
        self._loaded = loaded
        self._engine = Engine(self._loaded)
        self._reader = Reader(self._given.data, self._loaded, self._given.workers)
        self._subject = subject

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
        self, found: _Found, items: Sequence[Item], methods: Sequence[str], metrics: Sequence[str]
    ) -> list[str]:
        """The methods that are defined for the model, which share a pass; of the others, rows that say why not."""
        assert items[0].image is not None
        try:
            with self._precision():
                adapter = self._engine.adapter(items[0].image[None])
        except Exception:
            return [*methods]  # it is the model or the image that fails, as each method will
        suited = []
        for method in methods:
            try:
                self._methods[method].needs(adapter)
            except Exception as error:
                self._fail(found, items, [method], metrics, _failure(error)[0])
            else:
                suited.append(method)
        return suited

    def _measure(self, found: _Found, items: Sequence[Item], methods: Sequence[str], metrics: Sequence[str]) -> None:
        """Explain and score; where that fails, try with half the methods or by image until it is known what fails."""
        if not methods:
            return
        try:
            maps = self._explain(items, methods)
        except Exception as error:
            failure, full = _failure(error)
        else:
            self._keep_maps(found, items, maps)
            self._score(found, items, maps, metrics)
            return
        if full and len(items) > 1:
            self._measure_fewer(found, items, methods, metrics)
        elif len(methods) > 1:
            for some in _halves(methods):
                self._measure(found, items, some, metrics)
        elif len(items) > 1:
            for item in items:
                self._measure(found, [item], methods, metrics)
        else:
            self._fail(found, items, methods, metrics, failure)

    def _measure_fewer(
        self, found: _Found, items: Sequence[Item], methods: Sequence[str], metrics: Sequence[str]
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
        self, found: _Found, items: Sequence[Item], maps: Mapping[str, Saliency], metrics: Sequence[str]
    ) -> None:
        """Score maps; where that fails, try with half the metrics, half the methods and by image."""
        if items[0].mask is None:
            unknown = [metric for metric in metrics if self._given.metrics[metric].needs_truth]
            for item in items:
                self._fail(found, [item], [*maps], unknown, item.no_mask)
            metrics = [metric for metric in metrics if metric not in unknown]
        try:
            scores = self._evaluate(items, maps, metrics)
        except Exception as error:
            failure, full = _failure(error)
        else:
            for (method, saliency), scored in zip(maps.items(), scores, strict=True):
                self._keep(found, items, method, saliency, dict(zip(metrics, scored, strict=True)))
            return
        if full and len(items) > 1:
            self._measure_fewer(found, items, [*maps], metrics)
        elif len(metrics) > 1:
            for some in _halves(metrics):
                self._score(found, items, maps, some)
        elif len(maps) > 1:
            for named in _halves([*maps]):
                self._score(found, items, {method: maps[method] for method in named}, metrics)
        elif len(items) > 1:
            for item in items:
                self._measure(found, [item], [*maps], metrics)
        else:
            self._fail(found, items, [*maps], metrics, failure)

    def _explain(self, items: Sequence[Item], methods: Sequence[str]) -> dict[str, Saliency]:
        images = torch.stack([item.image for item in items if item.image is not None])
        targets = [item.label for item in items if item.label is not None] if self._manifest.target == "label" else None
        with self._precision(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DegenerateMapWarning)
            explainers = [self._methods[method] for method in methods]
            maps = self._engine.explain(images, explainers, targets, costs=True)
        return dict(zip(methods, maps.values(), strict=True))

    def _evaluate(
        self, items: Sequence[Item], maps: Mapping[str, Saliency], metrics: Sequence[str]
    ) -> list[list[Score]]:
        images = torch.stack([item.image for item in items if item.image is not None])
        masks = None if items[0].mask is None else torch.stack([item.mask for item in items if item.mask is not None])
        with self._precision(), warnings.catch_warnings():
            warnings.simplefilter("ignore", DegenerateMapWarning)
            scores = self._engine.evaluate(images, maps, [self._given.metrics[name] for name in metrics], masks)
        return [[*scored.values()] for scored in scores.values()]

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        precision = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self._manifest.precision)
        return torch.autocast(self._given.device.type, precision) if precision else contextlib.nullcontext()

    def _row(self, item: Item, method: str, metric: str, **known: Any) -> Row:
        return Row(self._spec, self._manifest.data, item.index, item.id, item.label, method, metric, **known)

    def _fail(
        self, found: _Found, items: Sequence[Item], methods: Sequence[str], metrics: Sequence[str], error: str
    ) -> None:
        for item in items:
            for method in methods:
                for metric in metrics:
                    found.rows[item.index, method, metric] = self._row(item, method, metric, error=error)

    def _keep(
        self, found: _Found, items: Sequence[Item], method: str, saliency: Saliency, scores: Mapping[str, Score]
    ) -> None:
        assert isinstance(saliency.target, Target)
        assert saliency.cost
        ids, flat = saliency.target.ids, saliency.degenerate.tolist()
        targets = [None] * len(items) if ids is None else ids.tolist()
        cost = {
            "forwards": saliency.cost.forwards,
            "seconds": saliency.cost.seconds / len(items),
            "memory": saliency.cost.memory,
        }
        for metric, score in scores.items():
            curves = None if score.curve is None else score.curve.tolist()
            fractions = None if score.fractions is None else score.fractions.tolist()
            for place, (item, value) in enumerate(zip(items, score.values.tolist(), strict=True)):
                key = item.index, method, metric
                found.rows[key] = self._row(
                    item, method, metric, target=targets[place], score=value, flat=flat[place], **cost
                )
                if curves and fractions:
                    found.curves[key] = Curve(self._spec, item.index, item.id, method, metric, fractions, curves[place])

    def _keep_maps(self, found: _Found, items: Sequence[Item], maps: Mapping[str, Saliency]) -> None:
        if self._manifest.maps:
            for method, saliency in maps.items():
                for item, values in zip(items, saliency.values.half().cpu().numpy(), strict=True):
                    found.maps[item.index, method] = values

    def _part(self, shard: Shard, items: Sequence[Item], found: _Found) -> Part:
        order = [
            (item.index, method, metric) for item in items for method in self._methods for metric in self._given.metrics
        ]
        rows = [found.rows[key] for key in order]
        curves = [found.curves[key] for key in order if key in found.curves]
        notes = tuple(dict.fromkeys(found.notes))
        maps = {
            f"{item.index}:{method}": found.maps[item.index, method]
            for item in items
            for method in self._methods
            if (item.index, method) in found.maps
        }
        return Part(
            shard,
            encode_rows(rows, notes),
            encode_curves(curves) if curves else None,
            encode_maps(maps) if maps else None,
            sum(row.error is not None for row in rows),
            notes,
        )


def _halves(names: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    return names[: len(names) // 2], names[len(names) // 2 :]


def _failure(error: Exception) -> tuple[str, bool]:
    """What failed, in one line, and whether it was for want of memory.

    Raises
    ------
    DeviceError
        Where the device itself failed, so that nothing further can be computed in this process.
    """
    said, full = in_one_line(error), out_of_memory(error)
    lost = isinstance(error, getattr(torch, "AcceleratorError", ())) or str(error).startswith("CUDA error")
    if lost and not full:
        raise DeviceError(f"the device failed, and the run with it ({said}); the same command goes on") from error
    return said, full
