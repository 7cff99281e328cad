"""Scores the maps of a batch with several metrics, which share intermediate results for each target."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from xai_core.checks import Checks, check_direction, check_images, check_result
from xai_core.configurable import package_of
from xai_core.explained_model import ExplainedModel
from xai_core.image_inputs import check_dimensions
from xai_core.inputs import SINGLE, Maps, accept_maps, accept_masks, accept_named
from xai_core.isolation.error_context import PluginCall
from xai_core.metric import Evaluation, Metric, MetricResult
from xai_core.model.execution import autocast_of, without_autocast
from xai_core.plugins.registry import origin
from xai_core.saliency import Saliency
from xai_core.targets.binding import targets_of
from xai_core.targets.target import BoundTarget

Results = dict[str, MetricResult]


class BatchEvaluation:
    """One call of `Engine.evaluate`."""

    def __init__(
        self, model: ExplainedModel, images: Tensor, metrics: Mapping[str, Metric], masks: Tensor | None
    ) -> None:
        self._model, self._metrics, self._checks = model, metrics, Checks()
        self._images, self._adapter = model.accept(images)
        check_images(self._checks, self._images)
        self._masks = None if masks is None else accept_masks(self._checks, masks, self._images)
        self._autocast, self._guard = autocast_of(self._images.device), model.guard(self._images)
        self._evaluations: dict[BoundTarget, Evaluation] = {}

    def results(self, maps: Maps) -> dict[str, Results]:
        """Return the results of each metric, for each of the maps."""
        saliencies = accept_maps(self._checks, maps, self._images, self._predicted, self._adapter)
        results = {key: self._of_maps(key, saliency) for key, saliency in saliencies.items()}
        self._checks.read()
        return results

    def _of_maps(self, key: str, saliency: Saliency) -> Results:
        """Return the results for the maps of one method, for all targets."""
        each = [self._of_target(key, single) for single in saliency.each]
        if isinstance(saliency.target, BoundTarget):
            return each[0]
        return {name: MetricResult.of_targets([results[name] for results in each]) for name in self._metrics}

    def _of_target(self, key: str, saliency: Saliency) -> Results:
        target = saliency.target
        assert isinstance(target, BoundTarget)
        evaluation = self._evaluation(target)
        own = replace(saliency.clone(), target=target)  # metrics must not write to the user's maps
        return {
            name: self._score(metric, PluginCall("metric", name, metric, origin(metric), key), evaluation, own)
            for name, metric in self._metrics.items()
        }

    def _score(self, metric: Metric, call: PluginCall, evaluation: Evaluation, saliency: Saliency) -> MetricResult:
        check_dimensions(self._images, metric, call)
        device, shared = self._images.device, partial(evaluation._tensors, saliency)
        with without_autocast(device), self._guard.around(call, shared):
            result = metric.evaluate(evaluation._of(package_of(metric)), saliency)
            check_result(self._checks, result, call, len(self._images), device)
            return replace(result, higher_is_better=check_direction(metric, call))

    def _evaluation(self, target: BoundTarget) -> Evaluation:
        """Return the evaluation of a target, which all metrics and maps with this target share."""
        if target not in self._evaluations:
            scorer = self._model.runner.scorer([target], self._adapter, self._images, self._autocast)
            masks = target.masks(_size(self._images)) if self._masks is None else self._masks
            self._evaluations[target] = Evaluation(self._images, scorer, self._model.bare, masks)
        return self._evaluations[target]

    def _predicted(self) -> BoundTarget:
        output = self._model.runner.output(self._images)
        return targets_of(None, output, self._adapter.score_reader, len(self._images))[0][0]


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]


def evaluate(model: ExplainedModel, images: Tensor, maps: Any, metrics: Mapping[str, Metric], masks: Any) -> Any:
    """Return the results of each metric, for each of the maps. See `Engine.evaluate`."""
    named = accept_named(maps)
    with torch.inference_mode(False), torch.no_grad():  # inference tensors do not count writes
        results = BatchEvaluation(model, images, metrics, masks).results(named)
    return results[SINGLE] if named is not maps else results
