"""Explains a batch with several explainers, which share one forward pass and at most one backward pass."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from xai_core.capture.captured import Captured, FurtherPasses
from xai_core.capture.needs import Needs, NeedsUnion
from xai_core.capture.pass_record import PassRecord
from xai_core.checks import (
    Checks,
    check_forward_passes,
    check_map,
    check_needs,
    check_pass,
    check_relevance,
    check_scores,
)
from xai_core.configurable import package_of
from xai_core.cost import PASS, Meter
from xai_core.data.class_names import require_names_of
from xai_core.explained_model import ExplainedModel
from xai_core.explainer import Explainer
from xai_core.image_inputs import check_dimensions
from xai_core.isolation.error_context import PluginCall
from xai_core.model.adapter import ModelAdapter
from xai_core.model.execution import Autocast, autocast_of, without_autocast
from xai_core.plugins.registry import looking_in, origin
from xai_core.saliency import ExplainAgain, Saliency
from xai_core.saliency_maps import SaliencyMaps
from xai_core.targets.binding import targets_of
from xai_core.targets.target import BoundTarget, TargetLike


@dataclass(frozen=True)
class _Method:
    """An explainer, its call and its needs, with a copy of the adapter, on which it may set attributes."""

    explainer: Explainer
    call: PluginCall
    adapter: ModelAdapter
    needs: Needs


class BatchExplanation:
    """One call of `Engine.explain`."""

    def __init__(
        self,
        model: ExplainedModel,
        images: Tensor,
        explainers: Mapping[str, Explainer],
        target: TargetLike,
        costs: bool,
    ) -> None:
        self._model, self._target, self._costs = model, target, costs
        self._images, self._adapter = model.accept(images, target)
        check_scores(self._adapter, target)
        self._checks, self._meter = Checks(), Meter(self._images.device, costs)
        self._guard, self._autocast = model.guard(self._images), autocast_of(self._images.device)
        calls = {
            key: PluginCall("explainer", key, explainer, origin(explainer)) for key, explainer in explainers.items()
        }
        self._methods = {key: self._method(explainers[key], call) for key, call in calls.items()}

    def maps(self) -> SaliencyMaps:
        """Return the maps of each explainer, by key."""
        record = self._record()
        view = self._model.view(self._images, record.output, self._adapter)
        if view.scores is not None and record.targets.requested[0].ids is not None:
            require_names_of(view.scores.shape[1], view.class_names)
        passes = self._model.runner.further_passes(record, self._adapter)
        maps = {key: self._explain(method, record, passes) for key, method in self._methods.items()}
        self._checks.read()
        return SaliencyMaps(
            (key, replace(self._with_cost(saliency, self._methods[key]), view=view)) for key, saliency in maps.items()
        )

    def _method(self, explainer: Explainer, call: PluginCall) -> _Method:
        check_dimensions(self._images, explainer, call)
        adapter = copy.copy(self._adapter)
        with self._guard.around(call):
            return _Method(explainer, call, adapter, check_needs(explainer.needs(adapter), call, self._adapter))

    def _record(self) -> PassRecord:
        """Run the shared pass."""
        needs = NeedsUnion.of([method.needs for method in self._methods.values()], self._adapter.layer_name)
        with self._meter.span(PASS):
            record = self._model.runner.record(self._images, needs, self._adapter, self._bind)
        check_pass(self._checks, record)
        if self._images.device.type == "cpu":
            self._checks.read()  # needs no transfer, and raises errors before images are perturbed
        return record

    def _bind(self, output: object) -> tuple[list[BoundTarget], bool]:
        return targets_of(self._target, output, self._adapter.score_reader, len(self._images))

    def _explain(self, method: _Method, record: PassRecord, passes: FurtherPasses) -> Saliency:
        """Return an explainer's maps for all targets."""
        with (
            torch.inference_mode(False),
            torch.no_grad(),
            without_autocast(self._images.device),
            self._meter.span(method.call.key),
            self._guard.around(method.call, record.tensors),
        ):
            each = self._of_each_target(method, record, passes)
        for saliency in each:
            check_map(self._checks, saliency, method.call)
        return Saliency.of_targets(each) if record.targets.several else each[0]

    def _of_each_target(self, method: _Method, record: PassRecord, passes: FurtherPasses) -> list[Saliency]:
        each: list[Saliency] = []  # not a generator, which would replace a `StopIteration` of the explainer
        call, images = method.call, self._images
        again = explain_again(self._model, call, self._target, self._autocast)
        package = package_of(method.explainer)
        for index, target in enumerate(record.targets.requested):
            if index == 0 or method.explainer.targeted:
                captured = Captured(record, method.needs, method.adapter, passes, index, package)
                relevance = method.explainer.explain(captured)
                check_relevance(relevance, call, len(images), images.device, images.ndim - 2)
                saliency = Saliency.of(relevance, len(images), _size(images), target, call.description, again)
            each.append(replace(saliency, target=target))
        return each

    def _with_cost(self, saliency: Saliency, method: _Method) -> Saliency:
        """Return maps with their cost, if costs are measured."""
        if not self._costs:
            return saliency
        with self._guard.around(method.call):
            passes = check_forward_passes(method.explainer.forward_passes(method.adapter), method.call)
        return replace(saliency, cost=self._meter.cost(passes, PASS, method.call.key))


def explain_again(model: ExplainedModel, call: PluginCall, wanted: TargetLike, autocast: Autocast) -> ExplainAgain:
    """Return a function that explains other images with the same method, under the caller's autocast setting.

    It runs no checks, because metrics call it many times.
    """

    def again(images: Tensor, target: BoundTarget, changed: nn.Module | None, rows: range | None) -> Saliency:
        runs = model if changed is None else model.copied_to(changed)
        runs = runs if rows is None else runs.of_rows(rows)
        assert isinstance(call.plugin_object, Explainer)
        with looking_in(model.plugins), autocast():
            images, adapter = runs.accept(images, wanted)
            with call.responsible():
                relevance = runs.runner.explained(images, call.plugin_object, target, adapter)
                saliency = Saliency.of(relevance, len(images), _size(images), target, call.description, again)
                return replace(saliency, rows=rows)

    return again


def _size(images: Tensor) -> tuple[int, ...]:
    return tuple(images.shape[2:])
