"""One loaded model of a benchmark: explains batches, scores maps, and restores the weights."""

import contextlib
import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from xai_core.benchmarking.failures import describe_failure
from xai_core.benchmarking.reader import Item
from xai_core.benchmarking.resolve import ResolvedBenchmark
from xai_core.benchmarking.weight_backup import WeightBackup
from xai_core.engine import Engine
from xai_core.errors import ConstantMapWarning, OutOfMemoryWarning, SideEffectError, TargetError
from xai_core.isolation.error_context import PluginCall, weights_changed
from xai_core.isolation.guard import Guard
from xai_core.isolation.model_state import ModelStateMonitor
from xai_core.metric import MetricResult
from xai_core.model.adapter import ModelAdapter
from xai_core.model.execution import unwrapped
from xai_core.plugins.registry import origin
from xai_core.saliency import Saliency
from xai_core.segments import largest
from xai_core.targets.box import Box
from xai_core.targets.region import Region
from xai_core.targets.target import TargetLike
from xai_core.targets.text import Text


class ModelSession:
    """A model of a benchmark on its device.

    Attributes
    ----------
    index, spec
        Index and spec of the model in the manifest.
    loaded
        The model.
    methods
        The explainers by spec.
    notes
        Messages of `OutOfMemoryWarning`, each once. The keys of a dictionary, because they have an order.

    Raises
    ------
    CheckpointError
        If the model was loaded with other weights than the manifest records.
    """

    def __init__(self, benchmark: ResolvedBenchmark, index: int) -> None:
        manifest = benchmark.manifest
        entry = manifest.models[index]
        self.index, self.spec, self.methods = index, entry.spec, benchmark.methods[index]
        self.loaded = benchmark.load(index)
        self.notes: dict[str, None] = {}
        self._benchmark, self._manifest = benchmark, manifest
        self._weights = WeightBackup(self.loaded.model, entry.spec, entry.weights)
        self._engine = Engine(self.loaded, time_limit=manifest.time_limit)

    def incompatible(self, items: Sequence[Item], methods: Sequence[str]) -> Iterator[tuple[str, Exception]]:
        """Iterate over the methods that do not support the model, with the error that each raises.

        Compatible methods share one pass, in which an incompatible one would fail for all.
        """
        try:
            adapter = self._adapter(items)
        except Exception:
            return  # the model or the image causes this error, and each method will raise it
        guard = Guard(ModelStateMonitor.of(unwrapped(self.loaded.model)), self._manifest.time_limit)
        for method in methods:
            explainer = self.methods[method]
            try:
                with guard.around(PluginCall("explainer", method, explainer, origin(explainer))):
                    explainer.needs(copy.copy(adapter))
            except Exception as error:
                yield method, error

    def _adapter(self, items: Sequence[Item]) -> ModelAdapter:
        """Return the model's adapter. An adapter that changes the weights is skipped, and the weights are restored."""
        while True:
            try:
                with self._precision():
                    return self._engine.adapter(_images(items[:1]))
            except SideEffectError as error:
                if not weights_changed(error):
                    raise
                message, _ = self.handle_failure(error)
                self.notes[message] = None

    def explain(self, items: Sequence[Item], methods: Sequence[str]) -> dict[str, Saliency]:
        """Explain a batch with several methods, which share one pass."""
        with self._precision(), self._notes_of_warnings():
            explainers = {method: self.methods[method] for method in methods}
            return self._engine.explain(_images(items), explainers, self._target(items), costs=True)

    def _target(self, items: Sequence[Item]) -> TargetLike:
        """Return the predictions or the labels as the target.

        A detector explains its best detection, of any class or of the label. A segmentation model explains the region
        of its largest class or of the label. A model that compares images with texts explains the text.
        """
        if self.loaded.tokenizer is not None:
            return Text([item.text or "" for item in items])
        reader = self._engine.adapter(_images(items)).score_reader
        if self._manifest.target != "label":
            return Region(self._largest(items)) if reader.is_segmenter else None
        labels = [item.label for item in items if item.label is not None]
        if reader.is_segmenter:
            return Region(labels)
        return Box(label=labels) if reader.is_detector else labels

    def _largest(self, items: Sequence[Item]) -> list[int]:
        """Return the class with the most pixels in each image, other than the background."""
        found = [largest(each, 1, self.loaded.class_names) for each in self._engine.segment(_images(items))]
        if not all(found):
            raise TargetError("the segmentation model finds only background, so there is no region to explain")
        return [segment.label for [segment] in found]

    def missing(self, item: Item) -> str | None:
        """Return an error if an image has no text or no label, and the target requires it."""
        if self.loaded.tokenizer is not None:
            return None if item.text else "TargetError: the image has no text, which this model compares with images"
        missing = self._manifest.target == "label" and item.label is None
        return "TargetError: the image has no label, which target='label' requires" if missing else None

    def evaluate(
        self, items: Sequence[Item], maps: Mapping[str, Saliency], metrics: Sequence[str]
    ) -> dict[str, dict[str, MetricResult]]:
        """Score the maps of a batch with several metrics, and return the results by method, then by metric."""
        masks = None if items[0].mask is None else torch.stack([item.mask for item in items if item.mask is not None])
        with self._precision(), self._notes_of_warnings():
            by_spec = {metric: self._benchmark.metrics[metric] for metric in metrics}
            return self._engine.evaluate(_images(items), maps, by_spec, masks)

    def names(self, call: PluginCall) -> tuple[str, str]:
        """Return the method and the metric that a call is for. A name is empty if it is not known."""
        if call.kind == "metric":
            return call.maps, _name(self._benchmark.metrics, call.plugin_object)
        return _name(self.methods, call.plugin_object), ""

    def without_plugins(self) -> contextlib.AbstractContextManager[None]:
        """Learn which settings of the process change in this block, in which no method or metric runs.

        Images are also read while methods run, and datasets may draw random numbers.
        """
        return ModelStateMonitor.of(unwrapped(self.loaded.model)).learning()

    def handle_failure(self, error: Exception) -> tuple[str, bool]:
        """Restore changed weights, and return the error in one line and whether memory ran out."""
        message, memory_ran_out = describe_failure(error)
        if weights_changed(error):
            self._weights.restore(message)
        return message, memory_ran_out

    def _precision(self) -> contextlib.AbstractContextManager[Any]:
        precision = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self._manifest.precision)
        return torch.autocast(self._benchmark.device.type, precision) if precision else contextlib.nullcontext()

    @contextlib.contextmanager
    def _notes_of_warnings(self) -> Iterator[None]:
        """Store out-of-memory warnings as notes, and drop warnings of constant maps, which have a column.

        All other warnings are issued again at the end.
        """
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore", ConstantMapWarning)
            warnings.simplefilter("always", OutOfMemoryWarning)
            try:
                yield
            finally:
                self.notes |= {str(each.message): None for each in caught if each.category is OutOfMemoryWarning}
        for each in caught:
            if each.category is not OutOfMemoryWarning:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno, source=each.source)


def _name(named: Mapping[str, object], wanted: object) -> str:
    return next((name for name, value in named.items() if value is wanted), "")


def _images(items: Sequence[Item]) -> Tensor:
    """Return the images of a batch as [B,C,h,w]."""
    return torch.stack([item.image for item in items if item.image is not None])
