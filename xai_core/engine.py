"""The engine: explains images with one shared forward and backward pass, and scores the maps."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import overload

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from xai_core.adapter_cache import Adapters
from xai_core.capture.attention_record import AttentionRecord, Rows, record_attention
from xai_core.capture.captured import Captured
from xai_core.capture.forward_pass import capture
from xai_core.capture.needs import Needs, NeedsUnion
from xai_core.capture.runner import Runner, laid_out
from xai_core.checks import (
    Checks,
    check_direction,
    check_forward_passes,
    check_images,
    check_map,
    check_needs,
    check_output,
    check_pass,
    check_relevance,
    check_result,
    check_scores,
)
from xai_core.configurable import package_of
from xai_core.cost import PASS, Meter
from xai_core.data.sources import LoadedModel
from xai_core.explainer import Explainer
from xai_core.image_inputs import accept_images
from xai_core.inputs import SINGLE, Maps, accept_maps, accept_masks, accept_model, accept_named
from xai_core.isolation.error_context import PluginCall
from xai_core.isolation.guard import Guard
from xai_core.isolation.model_state import ModelStateMonitor
from xai_core.metric import Evaluation, Metric, MetricResult
from xai_core.model.adapter import ModelAdapter
from xai_core.model.execution import Autocast, autocast_of, scoring, unwrapped, without_autocast
from xai_core.model.layouts import Layer
from xai_core.model.user_forward import UserForward, accept_forward, batch_indices, preserving_images, selecting
from xai_core.plugin_adapters import PluginAdapters
from xai_core.plugins.creation import create_explainer, create_metric
from xai_core.plugins.registry import Plugins, in_own_plugins, looking_in, origin, restricted
from xai_core.plugins.resolve import by_key
from xai_core.saliency import ExplainAgain, Saliency
from xai_core.targets.target import BoundTarget, TargetLike, targets_of
from xai_core.tensor_writes import share_memory

Methods = str | Explainer | Iterable[str | Explainer] | Mapping[str, str | Explainer]
Metrics = str | Metric | Iterable[str | Metric] | Mapping[str, str | Metric]
Results = dict[str, MetricResult]


class Engine:
    """Explains one model, and scores the explanations.

    The model stays unchanged: its mode, hooks, gradients and weights are the same after every call.

    Parameters
    ----------
    model
        Any `nn.Module` (compiled and `DataParallel` ones too), or a `LoadedModel`. It always runs in evaluation mode,
        regardless of its current mode.
    forward
        A function `forward(model, images) -> output` that calls the model, for models with other inputs.
        A third parameter `of` receives, for each row of `images`, the index of its image in the batch that is
        explained. It is an int64 tensor [N] on the device, and selects the side inputs of each row: `texts[of]`.
    output
        The part of the model's output that is explained: a key or an index, or several of them separated by dots.
        Targets receive this part alone. Default: the whole output, from which targets read the `logits`, or the only
        tensor with one row of scores per image.
    memory
        Bytes of device memory that a block of perturbed images may use. Default: 64 MiB on the CPU, where larger
        tensors are slow to allocate, and an eighth of the device's memory on a GPU.
    block
        Number of perturbed images in one forward pass. Default: as many as `memory` allows.
    plugins
        The only plugins in which this engine looks up names and adapters. Each is the name of an installed package,
        or a module or object with plugin hooks, such as an object in a notebook. Default: all installed plugins.
        Explainer and metric objects are not restricted.
    time_limit
        Seconds per image that one method, or one metric on one method's maps, may take. Default: no limit.

    Raises
    ------
    InputTypeError
        If the model is not a module, or `forward` or `output` has the wrong type.
    PluginError
        If one of the plugins is not installed, cannot be loaded, or has no hooks.
    """

    def __init__(
        self,
        model: nn.Module | LoadedModel,
        *,
        forward: UserForward | None = None,
        output: str | int | None = None,
        memory: int | None = None,
        block: int | None = None,
        plugins: Plugins | None = None,
        time_limit: float | None = None,
    ) -> None:
        self.model = accept_model(model)
        self._bare = unwrapped(self.model)
        self._forward = accept_forward(forward)
        if output is not None:
            self._forward = selecting(self._forward, output)
        self._forward = preserving_images(self._forward)
        self._runner = Runner(self.model, self._bare, self._forward, memory, block)
        self.plugins = None if plugins is None else restricted(plugins)
        self._memory, self._block, self._time_limit = memory, block, time_limit
        self._monitor = ModelStateMonitor.of(self._bare)
        of_plugins = PluginAdapters(self._bare, self._monitor, time_limit)
        self._adapters = Adapters(self._bare, self._forward, self._monitor, self._runner.block_of, of_plugins)

    def __repr__(self) -> str:
        device = next((tensor.device for tensor in self._bare.parameters()), "no parameters")
        limit = "" if self._time_limit is None else f", time_limit={self._time_limit:g}"
        return f"Engine({type(self._bare).__name__} on {device}{limit})"

    @in_own_plugins
    def explain(
        self, images: Float[Tensor, "B C H W"], methods: Methods, target: TargetLike = None, *, costs: bool = False
    ) -> dict[str, Saliency]:
        """Explain a batch with several methods, in one forward pass and at most one backward pass for all of them.

        Methods that need further passes, such as perturbation-based methods, run them in addition.

        Parameters
        ----------
        images
            [B,C,H,W], normalized as the model expects. They are moved to the model's device and converted to its type.
        methods
            A name, a spec or an explainer object. Several methods are a list of these, a comma-separated string, or a
            dict whose keys name the results.
        target
            Default: each image's predicted class. Otherwise a class id, a tensor or list of class ids ([B], or [B,T]
            for T targets per image), or a `Contrast`, `Region` or `Similarity`. A function receives the model's output
            and returns [B] numbers.
        costs
            Whether to measure the cost of each method, as `Saliency.cost`. On CUDA this resets the device's statistics
            of peak memory.

        Returns
        -------
        dict
            A `Saliency` for each method. The key is the method's spec as it was passed, or the name of an object. If
            two objects share a name, the key is the spec. For T targets, the tensors are [B,T,...].

        Raises
        ------
        XAIError
            If an input is invalid, or a method returns an invalid result. See `xai_core.errors`. Errors that the model,
            a target or a plugin raises are passed on, with a note that names the plugin.
        """
        explainers = by_key(methods, Explainer, create_explainer)
        images, adapter = self._accept(images, target)
        check_scores(adapter, target)
        calls = {
            key: PluginCall("explainer", key, explainer, origin(explainer)) for key, explainer in explainers.items()
        }
        meter, checks, guard = Meter(images.device, costs), Checks(), self._guard(images)
        autocast = autocast_of(images.device)
        needs, maps = dict[str, Needs](), dict[str, Saliency]()
        adapters = {key: copy.copy(adapter) for key in explainers}  # an explainer may set attributes of its own
        for key, explainer in explainers.items():
            with guard.around(calls[key]):
                needs[key] = check_needs(explainer.needs(adapters[key]), calls[key], adapter)
        union = NeedsUnion.of([*needs.values()], adapter.layer_name)
        with meter.span(PASS):
            record = capture(
                self._bare,
                self._forward,
                images,
                union,
                adapter.site,
                adapter.probe.attention,
                lambda output: targets_of(target, output, adapter.score_reader, len(images)),
            )
        check_pass(checks, record)
        if images.device.type == "cpu":
            checks.read()  # needs no transfer, and raises errors before images are perturbed
        passes = self._runner.further_passes(record, adapter)
        for key, explainer in explainers.items():
            again, named = self._again(calls[key], target, autocast), calls[key].description
            package = package_of(explainer)
            each: list[Saliency] = []
            with (
                torch.inference_mode(False),
                torch.no_grad(),
                without_autocast(images.device),
                meter.span(key),
                guard.around(calls[key], record.tensors),
            ):
                for i, bound in enumerate(record.targets.requested):
                    if i and not explainer.targeted:
                        each.append(replace(each[0], target=bound))
                        continue
                    relevance = explainer.explain(Captured(record, needs[key], adapters[key], passes, i, package))
                    check_relevance(relevance, calls[key], len(images), images.device)
                    each.append(Saliency.of(relevance, len(images), _size(images), bound, named, again))
            for saliency in each:
                check_map(checks, saliency, calls[key])
            maps[key] = Saliency.of_targets(each) if record.targets.several else each[0]
        checks.read()
        if costs:
            for key, explainer in explainers.items():
                with guard.around(calls[key]):
                    declared = check_forward_passes(explainer.forward_passes(adapters[key]), calls[key])
                    spent = meter.cost(declared, PASS, key)
                maps[key] = replace(maps[key], cost=spent)
        return maps

    @in_own_plugins
    def attention(
        self, images: Float[Tensor, "B C H W"], rows: Rows = None, *, module: Layer | None = None
    ) -> AttentionRecord:
        """Return the attention matrices of every layer that depends on the images, from one forward pass.

        Parameters
        ----------
        images
            As for `explain`.
        rows
            The indices of the query tokens whose rows are returned: None (all), an int, a slice, or a sequence of ints.
            Negative indices count from the end. Only these rows are computed (fused attention) and kept.
        module
            A module, by its name or as an object, such as a vision tower. Only attention in this module is returned.
            Default: the whole model.

        Raises
        ------
        NoAttentionError
            If no attention that depends on the images is observed in the model, or in the module.
        LayerError
            If the model has no such module.
        UnsuitableError
            If the model runs different attention layers for this batch than for one image.
        RowError
            If a layer has no row with one of these indices.
        OptionError
            If `rows` has another type.
        """
        images, adapter = self._accept(images)
        output, record = record_attention(
            self._bare, self._forward, images, rows, adapter, "" if module is None else adapter.layer_name(module)
        )
        checks = Checks()
        check_images(checks, images)
        check_output(checks, output, len(images))
        checks.read()
        return record

    @overload
    def evaluate(
        self, /, images: Tensor, maps: Maps, metrics: Metrics, masks: Tensor | None = None
    ) -> dict[str, Results]: ...

    @overload
    def evaluate(
        self, /, images: Tensor, maps: Saliency | Tensor, metrics: Metrics, masks: Tensor | None = None
    ) -> Results: ...

    @in_own_plugins
    def evaluate(
        self,
        images: Float[Tensor, "B C H W"],
        maps: Maps | Saliency | Tensor,
        metrics: Metrics,
        masks: Bool[Tensor, "B H W"] | None = None,
    ) -> dict[str, Results] | Results:
        """Score maps with several metrics, which share intermediate results.

        Parameters
        ----------
        images
            The images that were explained.
        maps
            The dict that `explain` returned, or one `Saliency` of it. A tensor [B,h,w] of any origin, alone or
            as a value of a dict, is scored for the predicted class. Maps that were saved and loaded are scored for
            their own target.
        metrics
            Names, specs or metric objects, one or several, like the `methods` of `explain`.
        masks
            [B,H,W] bool at the images' size, true inside the ground truth, for metrics that compare maps with it.

        Returns
        -------
        dict
            For one map, a dict of a `MetricResult` for each metric. For a dict of maps, a dict of such dicts for each
            method. Each map is scored for its own target.

        Raises
        ------
        XAIError
            If an input is invalid, or a metric returns an invalid result. See `xai_core.errors`. Errors that the model
            or a plugin raises are passed on, with a note that names the plugin.
        """
        named = accept_named(maps)
        by_name = by_key(metrics, Metric, create_metric)
        results: dict[str, Results] = {}
        with torch.inference_mode(False), torch.no_grad():  # inference tensors do not count writes
            images, adapter = self._accept(images)
            checks = Checks()
            check_images(checks, images)
            masks = None if masks is None else accept_masks(checks, masks, images)
            saliencies = accept_maps(checks, named, images, lambda: self._predicted(images, adapter), adapter)
            evaluations: dict[BoundTarget, Evaluation] = {}
            autocast, guard = autocast_of(images.device), self._guard(images)
            for key, saliency in saliencies.items():
                each: dict[str, list[MetricResult]] = {name: [] for name in by_name}
                for single in saliency.each:
                    target = single.target
                    assert isinstance(target, BoundTarget)
                    if target not in evaluations:
                        scorer = self._runner.scorer([target], adapter, images, autocast)
                        evaluations[target] = Evaluation(images, scorer, self._bare, masks)
                    own = replace(single.clone(), target=target)  # metrics must not write to the user's maps
                    shared = partial(evaluations[target]._tensors, own)
                    for name, metric in by_name.items():
                        call = PluginCall("metric", name, metric, origin(metric), key)
                        with without_autocast(images.device), guard.around(call, shared):
                            result = metric.evaluate(evaluations[target]._of(package_of(metric)), own)
                            check_result(checks, result, call, len(images), images.device)
                            result = replace(result, higher_is_better=check_direction(metric, call))
                        each[name].append(result)
                several = not isinstance(saliency.target, BoundTarget)
                results[key] = {name: MetricResult.of_targets(of) if several else of[0] for name, of in each.items()}
        checks.read()
        return results[SINGLE] if named is not maps else results

    @in_own_plugins
    def adapter(self, images: Float[Tensor, "B C H W"], target: TargetLike = None) -> ModelAdapter:
        """Return the model adapter for images of this size. It is derived from one probe of the model and cached.

        A `target` that is a function, or a `Similarity`, may read another part of the output than the class scores.
        Then the default layer is a layer from which this part is computed.
        """
        return self._accept(images, target)[1]

    def _accept(self, images: Tensor, target: object = None) -> tuple[Tensor, ModelAdapter]:
        """Return a copy of the images for the model, and the adapter for their size and the target.

        The copy protects the user's images from plugins. It is in the model's preferred memory format.
        """
        accepted = accept_images(images, self._bare)
        adapter = self._adapters.of(accepted, target)
        with torch.inference_mode(False), torch.no_grad():
            own = laid_out(accepted, adapter)
            return own.clone() if own.is_inference() or share_memory(own, images) else own, adapter

    def _of_copy(self, model: nn.Module) -> "Engine":
        """Return an engine with the same settings and layers for a copy of the model, perhaps with other weights."""
        engine = Engine(model, forward=self._forward, memory=self._memory, block=self._block)
        engine._adapters.share_probes(self._adapters)
        engine.plugins = self.plugins
        return engine

    def _predicted(self, images: Tensor, adapter: ModelAdapter) -> BoundTarget:
        with scoring(self.model):
            output = self._forward(self.model, images, batch_indices(images))
        return targets_of(None, output, adapter.score_reader, len(images))[0][0]

    def _guard(self, images: Tensor) -> Guard:
        return Guard(self._monitor, None if self._time_limit is None else self._time_limit * len(images))

    def _again(self, call: PluginCall, wanted: TargetLike, autocast: Autocast) -> ExplainAgain:
        """Return a function that explains other images with the same method.

        It runs no checks, because metrics call it many times.
        """

        def again(images: Tensor, target: BoundTarget, model: nn.Module | None) -> Saliency:
            engine = self if model is None else self._of_copy(model)
            assert isinstance(call.plugin_object, Explainer)
            with looking_in(self.plugins), autocast():
                images, adapter = engine._accept(images, wanted)
                with call.responsible():
                    relevance = engine._runner.explained(images, call.plugin_object, target, adapter)
                    return Saliency.of(relevance, len(images), _size(images), target, call.description, again)

        return again


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]
