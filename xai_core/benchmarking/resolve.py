"""Makes what settings name: models, data, methods and metrics, and the manifest that says what they are."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch

from xai_core.benchmarking.fingerprint import code_hash
from xai_core.benchmarking.manifest import Manifest, ModelEntry, content_hash, versions, weights_hash
from xai_core.benchmarking.reader import in_one_line
from xai_core.benchmarking.settings import ALL, CONTROLS, Settings
from xai_core.configurable import MADE_OF, Configurable
from xai_core.data.pairs import as_dataset
from xai_core.data.sources import Dataset, LoadedModel, Sample
from xai_core.engine import Engine
from xai_core.errors import DatasetError, OptionError, UnsuitableError, XAIError
from xai_core.explainer import Explainer
from xai_core.files import encodable
from xai_core.isolation.error_context import PluginCall, weights_changed
from xai_core.isolation.guard import Guard
from xai_core.isolation.model_state import ModelStateMonitor
from xai_core.metric import Metric
from xai_core.model.adapter import ModelAdapter
from xai_core.model.execution import unwrapped
from xai_core.plugins.registry import (
    create_explainer,
    create_metric,
    list_explainers,
    list_metrics,
    load_dataset,
    load_model,
    origin,
    registry,
)
from xai_core.spec import parse, suggest

TRIED = 64
"""With how many images, from the first, it is tried what suits a model before none of them is said to go through it."""
D = TypeVar("D", bound=Configurable)


@dataclass(frozen=True)
class ResolvedBenchmark:
    """What a manifest names, made: the same in every process that works on it."""

    manifest: Manifest
    models: Sequence[str | LoadedModel]
    data: Dataset
    methods: Sequence[Mapping[str, Explainer]]
    metrics: Mapping[str, Metric]
    device: torch.device
    threads: int
    workers: int

    def load(self, subject: int) -> LoadedModel:
        """The model of a number, on the device."""
        return load(self.models[subject], self.device)


def load(model: str | LoadedModel, device: torch.device) -> LoadedModel:
    """A model on a device; a loaded one is moved."""
    loaded = load_model(model) if isinstance(model, str) else model
    loaded.model.to(device)
    return loaded


def own_device(name: str | None) -> torch.device:
    """The device of a name, by default a GPU of this machine where there is one.

    Raises
    ------
    OptionError
        Where there is none of that name.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device).item()  # which devices without memory, such as meta, have not
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise OptionError(f"device={name!r} cannot be used ({reason}); expected such as cpu or cuda") from None
    return device


def prepare(settings: Settings, device: torch.device, here: torch.device, workers: int = 2) -> ResolvedBenchmark:
    """Make all that the settings name, for work on `device`; what suits the models is found out on the device `here`.

    Raises
    ------
    XAIError
        Where a name, an option or a file is wrong, or no image can be read.
    """
    data = load_dataset(settings.data) if isinstance(settings.data, str) else as_dataset(settings.data)
    images = min(len(data), settings.limit or len(data))
    first = _first(data, images)
    _require_known(settings.without)
    metrics, metrics_left_out = _metrics(settings, first)
    subjects: list[ModelEntry] = []
    methods = []
    models = [*dict.fromkeys(settings.models)]
    for model in models:
        subject, explainers = _subject(settings, model, data, images, here)
        if subject.model in (other.model for other in subjects):
            raise OptionError(f"two models are called {subject.model!r}; give each LoadedModel a spec= of its own")
        subjects.append(subject)
        methods.append(explainers)
    manifest = Manifest(
        subjects=tuple(subjects),
        data=encodable(settings.data) if isinstance(settings.data, str) else type(settings.data).__name__,
        images=images,
        data_content=content_hash(data, images, first, settings.target == "label"),
        metrics={spec: metric.higher_is_better for spec, metric in metrics.items()},
        left_out=metrics_left_out,
        protocol=settings.protocol,
        target=settings.target,
        seed=settings.seed,
        precision=settings.precision,
        batch=settings.batch,
        shard=settings.shard,
        maps=settings.maps,
        device=device.type,
        versions=versions(),
        time_limit=settings.time_limit,
        code=_code(settings, subjects, models),
    )
    return ResolvedBenchmark(manifest, models, data, methods, metrics, device, torch.get_num_threads(), workers)


def _code(settings: Settings, subjects: Sequence[ModelEntry], models: Sequence[str | LoadedModel]) -> dict[str, str]:
    """The code of what was given as an object, by its spec."""
    given: dict[str, Configurable | LoadedModel]
    given = {of.model: one for of, one in zip(subjects, models, strict=True) if isinstance(one, LoadedModel)}
    given |= {one.spec: one for one in (*settings.methods, *settings.metrics) if isinstance(one, Configurable)}
    return {spec: code_hash(one) for spec, one in given.items()}


def _first(data: Dataset, images: int) -> Sample:
    """The first sample that can be read."""
    reasons = []
    for index in range(images):
        try:
            return data[index]
        except Exception as error:
            reasons.append(in_one_line(error))
    shown = f": {reasons[0]}" if reasons else ""
    raise DatasetError(f"the data has no image that can be read, of {images}{shown}")


def _subject(
    settings: Settings, model: str | LoadedModel, data: Dataset, images: int, device: torch.device
) -> tuple[ModelEntry, dict[str, Explainer]]:
    """What a model is, and the methods that explain it; a model that is loaded here is let go."""
    loaded = load(model, device)
    spec = model if isinstance(model, str) else loaded.spec or type(loaded.model).__name__
    weights = weights_hash(loaded.model)
    explainers, left_out = _methods(settings, spec, loaded, data, images, device)
    return ModelEntry(spec, weights, tuple(explainers), left_out), explainers


def _methods(
    settings: Settings, model: str, loaded: LoadedModel, data: Dataset, images: int, device: torch.device
) -> tuple[dict[str, Explainer], dict[str, str]]:
    """The explainers by spec, and of all those that are left out, with the reason."""
    made: dict[str, Explainer] = {}
    left_out: dict[str, str] = {}
    for given in settings.methods:
        if given != ALL:
            _add(made, given, _seeded(given, create_explainer, settings.seed) if isinstance(given, str) else given)
            continue
        guard = Guard(ModelStateMonitor.of(unwrapped(loaded.model)), settings.time_limit)
        adapter = _adapter(model, loaded, data, images, device)
        for name in list_explainers():
            if name in settings.without or name in CONTROLS:
                continue
            try:
                one = _seeded(name, create_explainer, settings.seed)
                _require_whole(one)
                with guard.around(PluginCall("explainer", name, one, origin(one))):
                    one.needs(adapter)
            except Exception as error:
                if weights_changed(error):
                    raise
                left_out[name] = _reason(error)
            else:
                made.setdefault(one.spec, one)
    if not made:
        raise OptionError(f"no method is left for {model}; give some by name, or fewer in without=")
    if settings.controls:
        for name in CONTROLS:
            if name in registry().entries["explainers"] and name not in settings.without:
                one = _seeded(name, create_explainer, settings.seed)
                made.setdefault(one.spec, one)
    return made, left_out


def _adapter(model: str, loaded: LoadedModel, data: Dataset, images: int, device: torch.device) -> ModelAdapter:
    """The adapter of the model for the first image that goes through it."""
    engine, reason = Engine(loaded), ""
    for index in range(min(images, TRIED)):
        try:
            return engine.adapter(loaded.preprocess(data[index].image)[None].to(device))
        except Exception as error:
            reason = reason or in_one_line(error)
    raise DatasetError(f"none of the first {min(images, TRIED)} images goes through {model}: {reason}")


def _metrics(settings: Settings, sample: Sample) -> tuple[dict[str, Metric], dict[str, str]]:
    made: dict[str, Metric] = {}
    left_out: dict[str, str] = {}
    known = sample.mask is not None or sample.boxes is not None
    for given in settings.metrics:
        if given != ALL:
            _add(made, given, _seeded(given, create_metric, settings.seed) if isinstance(given, str) else given)
            continue
        for name in list_metrics():
            if name in settings.without:
                continue
            try:
                one = _seeded(name, create_metric, settings.seed)
            except Exception as error:
                left_out[name] = _reason(error)
                continue
            if one.needs_ground_truth and not known:
                left_out[name] = "the data does not say where the truth is"
            else:
                made.setdefault(one.spec, one)
    if not made:
        raise OptionError("no metric is left; give some by name, or fewer in without=")
    return made, left_out


def _add(made: dict[str, D], given: str | D, one: D) -> None:
    """Keep what was given by its spec, which is its name in rows, so that no two may share it."""
    if " at 0x" in one.spec:
        raise OptionError(
            f"{one.spec!r} has an option that is named by its place in memory, by which no run can go on; give it a"
            " `__str__` that says what it is"
        )
    other = made.setdefault(one.spec, one)
    if other is not one and not (isinstance(given, str) and type(other) is type(one)):
        raise OptionError(f"two of the methods or metrics are called {one.spec!r}; give each a name of its own")


def _require_known(without: Sequence[str]) -> None:
    known = [*list_explainers(), *list_metrics()]
    for name in without:
        if name not in known:
            raise OptionError(f"without={name!r} is neither a method nor a metric; {suggest(name, known)}")


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, XAIError) else in_one_line(error)


def _require_whole(explainer: Explainer) -> None:
    if not MADE_OF.isdisjoint(inspect.signature(type(explainer)).parameters):
        raise UnsuitableError(f"made of other methods; name it, such as {explainer.spec!r}")


def _seeded(spec: str, create: Callable[..., D], seed: int) -> D:
    """Make what a spec names; it, and what it is made of, with the run's seed where that takes one and has none."""
    parsed = parse(spec)
    if parsed.of:
        spec = str(replace(parsed, of=tuple(_seeded(one, create_explainer, seed).spec for one in parsed.of)))
    one = create(spec)
    takes = inspect.signature(type(one)).parameters
    if "seed" in takes and "seed" not in parsed.options and seed != takes["seed"].default:
        return create(spec, seed=seed)
    return one
