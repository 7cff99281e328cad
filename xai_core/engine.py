"""The engine: images in, one pass, maps out, scores of the maps out. The flow in one readable file."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

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
    accept,
    accept_maps,
    check_images,
    check_map,
    check_masks,
    check_needs,
    check_output,
    check_pass,
    check_score,
)
from xai_core.cost import PASS, Meter
from xai_core.data.sources import LoadedModel
from xai_core.errors import InputTypeError
from xai_core.explainer import Explainer
from xai_core.isolation.error_context import PluginCall
from xai_core.isolation.guard import Guard
from xai_core.isolation.model_state import ModelStateMonitor
from xai_core.metric import Evaluation, Metric, MetricResult
from xai_core.model.adapter import ModelAdapter
from xai_core.model.execution import Autocast, Forward, autocast_of, scoring, unwrapped, without_autocast
from xai_core.plugins.registry import (
    Plugins,
    create_explainer,
    create_metric,
    in_own_plugins,
    looking_in,
    origin,
    restricted,
)
from xai_core.plugins.resolve import by_key
from xai_core.saliency import ExplainAgain, Saliency
from xai_core.targets.target import BoundTarget, TargetLike, targets_of

Methods = str | Explainer | Iterable[str | Explainer]
Metrics = str | Metric | Iterable[str | Metric]


class Engine:
    """Explains one model, and scores the explanations. It never leaves a trace on the model.

    Parameters
    ----------
    model
        Any `nn.Module` (compiled and `DataParallel` ones too), or a `LoadedModel`. It is run in evaluation
        mode, whatever mode it is in.
    forward
        How the model is called, `forward(model, images) -> output`, where it takes more than images.
    memory
        Bytes that a block of perturbed images may take on the device. Default: 64 MiB on the CPU, where larger
        tensors are slow to allocate, and an eighth of the device's memory elsewhere.
    block
        How many perturbed images go through the model at once; default: what `memory` allows.
    plugins
        Where this engine looks names and adapters up: distributions by name, and modules or objects that carry hooks,
        such as one written in a notebook. Default: all that are installed. Explainer and metric objects always work.
    time_limit
        Seconds for each image that one method, or one metric on one method's maps, may take; default: no limit.

    Raises
    ------
    PluginError
        Where one of the plugins is not installed, is broken, or carries no hooks.
    """

    def __init__(
        self,
        model: nn.Module | LoadedModel,
        *,
        forward: Forward | None = None,
        memory: int | None = None,
        block: int | None = None,
        plugins: Plugins | None = None,
        time_limit: float | None = None,
    ) -> None:
        if isinstance(model, LoadedModel):
            model = model.model
        if not isinstance(model, nn.Module):
            raise InputTypeError(f"expected a torch.nn.Module or a LoadedModel, got {type(model).__name__}")
        self.model = model
        self._bare = unwrapped(model)
        self._forward: Forward = forward or (lambda model, images: model(images))
        self._runner = Runner(model, self._bare, self._forward, memory, block)
        self.plugins = None if plugins is None else restricted(plugins)
        self._memory, self._block, self._time_limit = memory, block, time_limit
        self._monitor = ModelStateMonitor.of(self._bare)
        self._adapters = Adapters(self._bare, self._forward, self._monitor)

    @in_own_plugins
    def explain(
        self, images: Float[Tensor, "B C H W"], methods: Methods, target: TargetLike = None, *, costs: bool = False
    ) -> dict[str, Saliency]:
        """Explain a batch by several methods, with one forward and at most one backward for all of them.

        Parameters
        ----------
        images
            [B,C,H,W], normalized as the model takes them; moved to its device and type where they differ.
        methods
            Names or specs, explainer objects, or a mixture.
        target
            None (each image's predicted class), a class id, a [B] tensor or list of class ids, a [B,T] one for
            T targets of each image, a question (`Contrast`, `Region`, `Similarity`), or a callable from the
            model's output to [B] numbers.
        costs
            Whether to measure what each method costs, as `Saliency.cost`. On CUDA this resets the device's statistics
            of peak memory.

        Returns
        -------
        dict
            A `Saliency` for each method, by the string as given or the object's name; with [B,T,...] tensors
            where T targets were given.

        Raises
        ------
        XAIError
            One clear error, see `xai_core.errors`. Errors of the model, a target or a plugin pass as they are; a note
            names the plugin.
        """
        explainers = by_key(methods, Explainer, create_explainer)
        images, adapter = self._accept(images)
        calls = {
            key: PluginCall("explainer", key, explainer, origin(explainer)) for key, explainer in explainers.items()
        }
        meter, checks, guard = Meter(images.device, costs), Checks(), self._guard(images)
        autocast = autocast_of(images.device)
        needs, maps = dict[str, Needs](), dict[str, Saliency]()
        for key, explainer in explainers.items():
            with guard.around(calls[key]):
                needs[key] = check_needs(explainer.needs(adapter), calls[key], adapter)
        plan = NeedsUnion.of([*needs.values()], adapter.layer_name)
        with meter.span(PASS):
            record = capture(
                self._bare,
                self._forward,
                images,
                plan,
                lambda output: targets_of(target, output, adapter.scores, len(images)),
            )
        check_pass(checks, record)
        if images.device.type == "cpu":
            checks.read()  # costs nothing here, and saves the perturbations of a broken input
        passes = self._runner.further_passes(record, adapter)
        for key, explainer in explainers.items():
            again, named = self._again(calls[key], autocast), calls[key].description
            made: list[Saliency] = []
            with torch.no_grad(), without_autocast(images.device), meter.span(key), guard.around(calls[key]):
                for i, one in enumerate(record.targets.requested):
                    if i and not explainer.targeted:
                        made.append(replace(made[0], target=one))
                        continue
                    given = explainer.explain(Captured(record, needs[key], adapter, passes, i))
                    made.append(Saliency.of(given, len(images), _size(images), one, named, again))
            for saliency in made:
                check_map(checks, saliency, calls[key])
            maps[key] = Saliency.of_targets(made) if record.targets.several else made[0]
        checks.read()
        if costs:
            spent = {
                key: meter.cost(explainer.forward_passes(adapter), PASS, key) for key, explainer in explainers.items()
            }
            maps = {key: replace(saliency, cost=spent[key]) for key, saliency in maps.items()}
        return maps

    @in_own_plugins
    def attention(self, images: Float[Tensor, "B C H W"], rows: Rows = None) -> AttentionRecord:
        """The attention matrices of every layer, from one forward.

        Parameters
        ----------
        images
            As for `explain`.
        rows
            The query tokens whose rows are wanted: None (all), an int, a slice, or a sequence of ints; negative ones
            count from the end. No more of fused attention is computed, and no more of any is kept.

        Raises
        ------
        NoAttentionError
            Where the model has no attention that can be seen.
        RowError
            Where a layer has no such row.
        OptionError
            Where `rows` is none of these.
        """
        images, adapter = self._accept(images)
        output, record = record_attention(self._bare, self._forward, images, rows, adapter)
        checks = Checks()
        check_images(checks, images)
        check_output(checks, output, len(images))
        checks.read()
        return record

    @in_own_plugins
    def evaluate(
        self,
        images: Float[Tensor, "B C H W"],
        maps: Mapping[str, Saliency | Tensor],
        metrics: Metrics,
        masks: Bool[Tensor, "B H W"] | None = None,
    ) -> dict[str, dict[str, MetricResult]]:
        """Score maps by several metrics, which share what they can.

        Parameters
        ----------
        images
            The images that were explained.
        maps
            What `explain` returned; or [B,H,W] tensors of your own, which are scored for the predicted class.
        metrics
            Names or specs, metric objects, or a mixture.
        masks
            [B,H,W] bool at the images' size, where the truth is in each, for the metrics that compare with it.

        Returns
        -------
        dict
            By method, then by metric, a `MetricResult`; each map is scored for the target that it was made for.
        """
        made = by_key(metrics, Metric, create_metric)
        images, adapter = self._accept(images)
        checks = Checks()
        check_images(checks, images)
        masks = None if masks is None else check_masks(checks, masks, images)
        saliencies = accept_maps(checks, maps, images, lambda: self._predicted(images, adapter))
        evaluations: dict[BoundTarget, Evaluation] = {}
        autocast, guard = autocast_of(images.device), self._guard(images)
        scores: dict[str, dict[str, MetricResult]] = {}
        with torch.no_grad(), without_autocast(images.device):
            for key, saliency in saliencies.items():
                each: dict[str, list[MetricResult]] = {name: [] for name in made}
                for one in saliency.each:
                    target = one.target
                    assert isinstance(target, BoundTarget)
                    if target not in evaluations:
                        scorer = self._runner.scorer([target], adapter, images, autocast)
                        evaluations[target] = Evaluation(images, scorer, self._bare, masks)
                    for name, metric in made.items():
                        call = PluginCall("metric", name, metric, origin(metric), key)
                        with guard.around(call):
                            score = metric.evaluate(evaluations[target], one)
                            check_score(checks, score, call, len(images))
                            score = replace(score, higher_is_better=metric.higher_is_better)
                        each[name].append(score)
                several = not isinstance(saliency.target, BoundTarget)
                scores[key] = {name: MetricResult.of_targets(of) if several else of[0] for name, of in each.items()}
        checks.read()
        return scores

    @in_own_plugins
    def adapter(self, images: Float[Tensor, "B C H W"]) -> ModelAdapter:
        """The adapter for images of this size, found by one probe of the model and kept."""
        return self._accept(images)[1]

    def _accept(self, images: Tensor) -> tuple[Tensor, ModelAdapter]:
        """The images as the model takes them best, and the adapter for their size."""
        images = accept(images, self._bare)
        adapter = self._adapters.of(images)
        return laid_out(images, adapter), adapter

    def _of_copy(self, model: nn.Module) -> "Engine":
        """An engine like this one for a copy of the model."""
        engine = Engine(model, forward=self._forward, memory=self._memory, block=self._block)
        engine.plugins = self.plugins
        return engine

    def _predicted(self, images: Tensor, adapter: ModelAdapter) -> BoundTarget:
        with scoring(self.model):
            output = self._forward(self.model, images)
        return targets_of(None, output, adapter.scores, len(images))[0][0]

    def _guard(self, images: Tensor) -> Guard:
        return Guard(self._monitor, None if self._time_limit is None else self._time_limit * len(images))

    def _again(self, call: PluginCall, autocast: Autocast) -> ExplainAgain:
        """What explains other images by the same method: without checks, for metrics that do it many times."""

        def again(images: Tensor, target: BoundTarget, model: nn.Module | None) -> Saliency:
            engine = self if model is None else self._of_copy(model)
            assert isinstance(call.plugin_object, Explainer)
            with looking_in(self.plugins), autocast():
                images, adapter = engine._accept(images)
                try:
                    given = engine._runner.explained(images, call.plugin_object, target, adapter)
                    return Saliency.of(given, len(images), _size(images), target, call.description, again)
                except Exception as error:
                    call.attach_to(error)
                    raise

        return again


def _size(images: Tensor) -> tuple[int, int]:
    return images.shape[-2], images.shape[-1]
