"""Selects and creates the methods and metrics of a benchmark."""

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

import torch

from xai_core.benchmarking.reader import in_one_line, preprocessed
from xai_core.benchmarking.settings import ALL, CONTROLS, Settings
from xai_core.checks import check_direction
from xai_core.configurable import MADE_OF, Configurable
from xai_core.data.sources import Dataset, LoadedModel, Sample
from xai_core.engine import Engine
from xai_core.error_text import CONTAINED, message_of
from xai_core.errors import (
    DatasetError,
    NoGroundTruthError,
    OptionError,
    TimeLimitError,
    UnsuitableError,
    WorkerError,
    XAIError,
)
from xai_core.explainer import Explainer
from xai_core.isolation.current_call import step
from xai_core.isolation.error_context import PluginCall, weights_changed
from xai_core.isolation.guard import Guard, limited_call
from xai_core.isolation.model_state import ModelStateMonitor
from xai_core.isolation.timeouts import limited
from xai_core.metric import Metric
from xai_core.model.adapter import ModelAdapter
from xai_core.model.execution import unwrapped
from xai_core.plugins.creation import create_explainer, create_metric, source_call
from xai_core.plugins.names import checked_name, checked_spec
from xai_core.plugins.registry import list_explainers, list_metrics, origin, registry
from xai_core.spec import parse, suggest

TRIALS = 64
"""Number of images to try before concluding that the model accepts none."""
Plugin = TypeVar("Plugin", bound=Configurable)


def select_methods(
    settings: Settings, model: str, probe: Callable[[], ModelAdapter | None]
) -> tuple[dict[str, Explainer], dict[str, str]]:
    """Return the explainers of a model by spec, and the reason for each method that `all` skips.

    Parameters
    ----------
    settings
        The settings.
    model
        Spec of the model.
    probe
        Returns the adapter of the model. If it returns None, `all` includes methods that do not support the model.

    Raises
    ------
    XAIError
        If a method cannot be created, if no method remains, or if the model accepts none of the images.
    """
    explainers: dict[str, Explainer] = {}
    skipped: dict[str, str] = {}
    for requested in settings.methods:
        if requested == ALL:
            for spec, explainer in _compatible(settings, probe(), skipped):
                explainers.setdefault(spec, explainer)
        elif isinstance(requested, str):
            _add(explainers, _create(requested, create_explainer, settings), of_spec=True)
        else:
            _add(explainers, requested)
    if not explainers:
        raise OptionError(f"no method remains for {model}; pass methods by name, or fewer names in without=")
    if settings.controls:
        for name in CONTROLS:
            if name in registry().entries["explainers"] and name not in settings.without:
                control = _create(name, create_explainer, settings)
                explainers.setdefault(control.spec, control)
    return explainers, skipped


def select_metrics(settings: Settings, sample: Sample) -> tuple[dict[str, Metric], dict[str, str]]:
    """Return the metrics by spec, and the reason for each metric that `all` skips.

    Parameters
    ----------
    settings
        The settings.
    sample
        A sample of the dataset, which shows whether there is ground truth.

    Raises
    ------
    XAIError
        If a metric cannot be created, or if no metric remains.
    """
    metrics: dict[str, Metric] = {}
    skipped: dict[str, str] = {}
    has_ground_truth = sample.mask is not None or sample.boxes is not None
    for requested in settings.metrics:
        if requested == ALL:
            for name in list_metrics():
                if name in settings.without:
                    continue
                try:
                    metric = _create(name, create_metric, settings)
                    spec = spec_of(metric)
                    if metric.needs_ground_truth and not has_ground_truth:
                        raise NoGroundTruthError("the dataset has no ground-truth masks or boxes")
                except CONTAINED as error:
                    skipped[name] = _reason(error)
                else:
                    metrics.setdefault(spec, metric)
        elif isinstance(requested, str):
            _add(metrics, _create(requested, create_metric, settings), of_spec=True)
        else:
            _add(metrics, requested)
    if not metrics:
        raise OptionError("no metric remains; pass metrics by name, or fewer names in without=")
    return metrics, skipped


def require_known(names: Sequence[str]) -> None:
    """Check the names in `without`.

    Raises
    ------
    OptionError
        If a name is not the name of an installed method or metric.
    """
    known = [*list_explainers(), *list_metrics()]
    for name in names:
        if name not in known:
            raise OptionError(f"without={name!r} is neither a method nor a metric; {suggest(name, known)}")


def _compatible(
    settings: Settings, adapter: ModelAdapter | None, skipped: dict[str, str]
) -> Iterator[tuple[str, Explainer]]:
    """Create the installed methods that support the model, by spec, and add the reasons for the others to `skipped`."""
    guard = adapter and Guard(ModelStateMonitor.of(unwrapped(adapter.model)), settings.time_limit)
    for name in list_explainers():
        if name in settings.without or name in CONTROLS:
            continue
        try:
            explainer = _create(name, create_explainer, settings)
            spec = spec_of(explainer)
            _require_not_composite(explainer)
            if guard and adapter:
                with guard.around(PluginCall("explainer", name, explainer, origin(explainer))):
                    explainer.needs(copy.copy(adapter))
        except CONTAINED as error:
            if weights_changed(error):
                raise
            skipped[name] = _reason(error)
        else:
            yield spec, explainer


def probe(
    settings: Settings, model: str, loaded: LoadedModel, data: Dataset, images: int, device: torch.device
) -> ModelAdapter:
    """Return the adapter of a model on a device, for the first of the dataset's images that the model accepts."""
    seconds, call = settings.time_limit, source_call("dataset", settings.data)
    engine, reason, trials = Engine(loaded, time_limit=seconds), "", min(images, TRIALS)
    for index in range(trials):
        sample = None
        try:
            with step(f"reading of image {index}", seconds), limited_call(call, seconds):
                sample = data[index]
            of_model = PluginCall("model", model, loaded)
            with step(f"preprocessing for model {model}", seconds), limited_call(of_model, seconds):
                image = preprocessed(loaded, sample)
            with step(f"first forward pass of model {model}"):
                return engine.adapter(image[None].to(device))
        except CONTAINED as error:
            model_ended = sample is not None and isinstance(error, WorkerError)
            if weights_changed(error) or model_ended:
                raise
            reason = reason or in_one_line(error)
    raise DatasetError(f"{model} accepts none of the first {trials} images: {reason}")


def _add(plugins: dict[str, Plugin], plugin: Plugin, of_spec: bool = False) -> None:
    """Store a method or metric under its spec, which is its name in the rows.

    Raises
    ------
    OptionError
        If another method or metric has the same spec, or if the spec does not identify the options.
    PluginContractError
        If the name, the spec or the direction is not valid.
    """
    spec = spec_of(plugin)
    if " at 0x" in spec:
        raise OptionError(
            f"the spec {spec!r} contains a memory address, so a run cannot resume with it. Define `__str__` in the"
            " class of the option's value"
        )
    other = plugins.setdefault(spec, plugin)
    if other is not plugin and not (of_spec and type(other) is type(plugin)):
        raise OptionError(f"two methods or metrics have the spec {spec!r}; give each its own name")


def spec_of(plugin: Configurable) -> str:
    """Return the spec of a method or metric, after a check of its name, spec and direction."""
    release = origin(plugin)
    kind, name = "metric" if isinstance(plugin, Metric) else "explainer", checked_name(plugin, release)
    call = PluginCall(kind, name, plugin, release)
    with call.responsible():
        if isinstance(plugin, Metric):
            check_direction(plugin, call)
        return checked_spec(plugin, release)


def _create(spec: str, create: Callable[..., Plugin], settings: Settings) -> Plugin:
    """Create a method or metric from a spec.

    Raises
    ------
    TimeLimitError
        If this takes longer than the time limit.
    """
    seconds = settings.time_limit
    message = f"creating {spec} took longer than {seconds:g} s and was interrupted; exclude it"
    with step(f"creation of {spec}", seconds), limited(seconds, lambda: TimeLimitError(message)):
        created = _seeded(spec, create, settings.seed)
        created.spec  # noqa: B018 # code of the plugin
    return created


def _seeded(spec: str, create: Callable[..., Plugin], seed: int) -> Plugin:
    """Create a method or metric from a spec, with the benchmark's seed unless the spec sets one.

    The seed is passed to the methods of a composite method too.
    """
    parsed = parse(spec)
    if parsed.of:
        parts = (_seeded(part, create_explainer, seed).spec for part in parsed.of)
        spec = str(replace(parsed, of=tuple(parts)))
    plugin = create(spec)
    parameters = inspect.signature(type(plugin)).parameters
    if "seed" in parameters and "seed" not in parsed.options and seed != parameters["seed"].default:
        return create(spec, seed=seed)
    return plugin


def _require_not_composite(explainer: Explainer) -> None:
    if not MADE_OF.isdisjoint(inspect.signature(type(explainer)).parameters):
        raise UnsuitableError(f"composite method; pass it by name, such as {explainer.spec!r}")


def _reason(error: BaseException) -> str:
    return message_of(error) if isinstance(error, XAIError) else in_one_line(error)
