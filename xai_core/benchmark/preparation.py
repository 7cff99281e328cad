"""Makes what settings name: models, data, methods and metrics, and the manifest that says what they are."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from xai_core.benchmark.manifest import Manifest, Subject, versions, weights_hash
from xai_core.benchmark.reader import in_one_line
from xai_core.benchmark.settings import ALL, FLOORS, Settings
from xai_core.engine import Engine
from xai_core.errors import EmptyBatchError, UnsuitableError, XAIError
from xai_core.explainer import MADE_OF, Described, Explainer
from xai_core.metric import Metric
from xai_core.pairs import as_dataset
from xai_core.registry import (
    create_explainer,
    create_metric,
    list_explainers,
    list_metrics,
    load_dataset,
    load_model,
    registry,
)
from xai_core.source import Dataset, LoadedModel, Sample
from xai_core.spec import parse

D = TypeVar("D", bound=Described)


@dataclass(frozen=True)
class Given:
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


def prepare(settings: Settings, workers: int = 2) -> Given:
    """Make all that the settings name.

    Raises
    ------
    XAIError
        Where a name, an option or a file is wrong, or no image can be read.
    """
    device = torch.device(settings.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    data = load_dataset(settings.data) if isinstance(settings.data, str) else as_dataset(settings.data)
    images = min(len(data), settings.limit or len(data))
    first = _first(data, images)
    metrics, metrics_left_out = _metrics(settings, first)
    subjects, methods = [], []
    for model in settings.models:
        loaded = load(model, device)
        explainers, left_out = _methods(settings, loaded, first, device)
        spec = model if isinstance(model, str) else loaded.spec or type(loaded.model).__name__
        subjects.append(Subject(spec, weights_hash(loaded.model), tuple(explainers), left_out))
        methods.append(explainers)
    manifest = Manifest(
        subjects=tuple(subjects),
        data=settings.data if isinstance(settings.data, str) else type(settings.data).__name__,
        images=images,
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
    )
    return Given(manifest, settings.models, data, methods, metrics, device, torch.get_num_threads(), workers)


def _first(data: Dataset, images: int) -> Sample:
    """The first sample that can be read."""
    reasons = []
    for index in range(images):
        try:
            return data[index]
        except Exception as error:
            reasons.append(in_one_line(error))
    shown = f": {reasons[0]}" if reasons else ""
    raise EmptyBatchError(f"the data has no image that can be read, of {images}{shown}")


def _methods(
    settings: Settings, loaded: LoadedModel, sample: Sample, device: torch.device
) -> tuple[dict[str, Explainer], dict[str, str]]:
    """The explainers by spec, and of all those that are left out, with the reason."""
    made: dict[str, Explainer] = {}
    left_out: dict[str, str] = {}
    floors = [name for name in FLOORS if settings.floors and name in registry().entries["explainers"]]
    for given in (*settings.methods, *floors):
        if given != ALL:
            one = _seeded(given, create_explainer, settings.seed) if isinstance(given, str) else given
            made[one.spec] = one
            continue
        adapter = Engine(loaded).adapter(loaded.preprocess(sample.image)[None].to(device))
        for name in list_explainers():
            if name in settings.without or name in FLOORS:
                continue
            one = _seeded(name, create_explainer, settings.seed)
            try:
                _require_whole(one)
                one.needs(adapter)
            except (UnsuitableError, XAIError) as error:
                left_out[name] = str(error)
            else:
                made.setdefault(one.spec, one)
    return made, left_out


def _metrics(settings: Settings, sample: Sample) -> tuple[dict[str, Metric], dict[str, str]]:
    made: dict[str, Metric] = {}
    left_out: dict[str, str] = {}
    known = sample.mask is not None or sample.boxes is not None
    for given in settings.metrics:
        if given != ALL:
            one = _seeded(given, create_metric, settings.seed) if isinstance(given, str) else given
            made[one.spec] = one
            continue
        for name in list_metrics():
            one = _seeded(name, create_metric, settings.seed)
            if name in settings.without:
                continue
            if one.needs_truth and not known:
                left_out[name] = "the data does not say where the truth is"
            else:
                made.setdefault(one.spec, one)
    return made, left_out


def _require_whole(explainer: Explainer) -> None:
    if not MADE_OF.isdisjoint(inspect.signature(type(explainer)).parameters):
        raise UnsuitableError(f"made of other methods; name it, such as {explainer.spec!r}")


def _seeded(spec: str, create: Callable[..., D], seed: int) -> D:
    """Make what a spec names, with the run's seed where it takes one and is not given it."""
    one = create(spec)
    takes = inspect.signature(type(one)).parameters
    if "seed" in takes and "seed" not in parse(spec).options and seed != takes["seed"].default:
        return create(spec, seed=seed)
    return one
