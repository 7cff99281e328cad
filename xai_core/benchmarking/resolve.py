"""Creates everything that the settings name (models, data, methods, metrics), and the manifest that identifies it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from xai_core.benchmarking.fingerprint import code_hash
from xai_core.benchmarking.hashes import dataset_hash, weights_hash
from xai_core.benchmarking.manifest import Manifest, ModelEntry
from xai_core.benchmarking.reader import Reader, in_one_line
from xai_core.benchmarking.selection import probe, require_known, select_methods, select_metrics, spec_of
from xai_core.benchmarking.settings import RECORDED, Settings
from xai_core.benchmarking.versions import versions
from xai_core.checks import check_direction
from xai_core.configurable import Configurable
from xai_core.data.pairs import as_dataset
from xai_core.data.sources import Dataset, LoadedModel, Sample
from xai_core.error_text import CONTAINED, described, shown
from xai_core.errors import DatasetError, OptionError, WorkerError, XAIError
from xai_core.explainer import Explainer
from xai_core.files import encodable
from xai_core.isolation.current_call import step
from xai_core.isolation.error_context import PluginCall
from xai_core.isolation.guard import limited_call
from xai_core.metric import Metric
from xai_core.model.runtimes import require_values
from xai_core.plugins.creation import load_dataset, load_model, source_call
from xai_core.plugins.registry import origin

ENDING_IMAGES = 3
"""Number of images that may end the process until no further image is tried."""


@dataclass(frozen=True)
class ResolvedBenchmark:
    """The objects that a manifest names, the same in every process that computes shards.

    Attributes
    ----------
    manifest
        The manifest.
    models
        Specs of the models, or the loaded models.
    data
        The dataset.
    methods
        For each model, the explainers by spec.
    metrics
        The metrics by spec.
    with_masks
        Specs of the metrics that need ground-truth masks.
    data_call
        The plugin call of the dataset, for error messages.
    device
        Device of the models.
    threads
        Number of PyTorch's threads.
    workers
        Number of threads that read images.
    failures
        The reason for each model that ends the process, by its index.
    """

    manifest: Manifest
    models: Sequence[str | LoadedModel]
    data: Dataset
    methods: Sequence[Mapping[str, Explainer]]
    metrics: Mapping[str, Metric]
    with_masks: frozenset[str]
    data_call: PluginCall
    device: torch.device
    threads: int
    workers: int
    failures: Mapping[int, str] = field(default_factory=dict)

    def load(self, model_index: int) -> LoadedModel:
        """Return the model at an index, on the device."""
        return load(self.models[model_index], self.device)

    def reader(self, model_index: int, loaded: LoadedModel, **options: Any) -> Reader:
        """Return the reader of images for the model at an index."""
        calls = self.data_call, source_call("model", self.models[model_index])
        return Reader(self.data, loaded, self.workers, calls, self.manifest.time_limit, **options)


def load(model: str | LoadedModel, device: torch.device) -> LoadedModel:
    """Load a model from its spec, or take a loaded one, and move it to a device."""
    loaded = load_model(model) if isinstance(model, str) else model
    require_values(loaded.model)
    loaded.model.to(device)
    return loaded


def local_device(name: str | None) -> torch.device:
    """Return a device of this machine, by default a GPU if available.

    Raises
    ------
    OptionError
        If this machine has no such device.
    """
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.zeros(1, device=device).item()  # fails on devices without data, such as meta
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise OptionError(
            f"device={name!r} cannot be used ({reason}); expected a PyTorch device, such as cpu or cuda"
        ) from None
    return device


def resolve(
    settings: Settings,
    device: torch.device,
    probe_device: torch.device,
    workers: int = 2,
    code: Mapping[str, str] | None = None,
) -> ResolvedBenchmark:
    """Create everything that the settings name.

    Parameters
    ----------
    settings
        The settings, including those that the protocol adds.
    device
        Device on which shards are computed.
    probe_device
        Device of this process, on which models are probed for compatible methods.
    workers
        Number of threads that read images.
    code
        The result of `code_hashes` in the process of the user, which has the source text of notebooks. By default, it
        is computed here.

    Raises
    ------
    XAIError
        If a name, an option or a file is wrong, or if no image can be read.
    """
    data_call = source_call("dataset", settings.data)
    with step(f"opening of dataset {data_call.key}"):
        data = load_dataset(settings.data) if isinstance(settings.data, str) else as_dataset(settings.data)
        with limited_call(data_call, settings.time_limit, quiet=XAIError):
            length = _length(data)
    images = min(length, settings.limit or length)
    first = _first_readable(data, images, data_call, settings.time_limit)
    require_known(settings.without)
    metrics, skipped = select_metrics(settings, first)
    with_masks = frozenset(spec for spec, metric in metrics.items() if metric.needs_ground_truth)
    entries: list[ModelEntry] = []
    methods = []
    models = [*dict.fromkeys(settings.models)]
    code_of_files: dict[str, str] = {}
    failures: dict[int, str] = {}
    for index, model in enumerate(models):
        try:
            entry, explainers, user_code = _model_entry(settings, model, data, images, probe_device)
        except WorkerError as error:
            if len(models) == 1:
                raise
            failures[index] = str(error)
            entry, explainers, user_code = _failed_entry(settings, model)
        if entry.spec in (other.spec for other in entries):
            raise OptionError(f"two models have the spec {entry.spec!r}; give each LoadedModel its own spec=")
        entries.append(entry)
        methods.append(explainers)
        code_of_files |= user_code
    manifest = Manifest(
        models=tuple(entries),
        data=encodable(settings.data) if isinstance(settings.data, str) else type(settings.data).__name__,
        images=images,
        data_content=dataset_hash(data, images, first, settings.target == "label"),
        metrics={
            spec: check_direction(metric, PluginCall("metric", spec, metric, origin(metric)))
            for spec, metric in metrics.items()
        },
        skipped=skipped,
        device=device.type,
        versions=versions(),
        code={**(code_hashes(settings) if code is None else code), **code_of_files},
        **{name: getattr(settings, name) for name in RECORDED},
    )
    return ResolvedBenchmark(
        manifest,
        models,
        data,
        methods,
        metrics,
        with_masks,
        data_call,
        device,
        torch.get_num_threads(),
        workers,
        failures,
    )


def code_hashes(settings: Settings) -> dict[str, str]:
    """Return the hash of the code of each model, method and metric that was passed as an object, by its spec."""
    plugins = [plugin for plugin in (*settings.methods, *settings.metrics) if isinstance(plugin, Configurable)]
    hashes = {spec_of(plugin): code_hash(plugin) for plugin in plugins}
    return hashes | {_spec(model): code_hash(model) for model in settings.models if isinstance(model, LoadedModel)}


def _length(data: Dataset) -> int:
    try:
        return len(data)
    except Exception as error:
        raise DatasetError(
            f"the dataset has no valid length ({described(error)}); expected `__len__` to return the number of samples"
        ) from error


def _first_readable(data: Dataset, images: int, call: PluginCall, seconds: float) -> Sample:
    reason, ended = "", 0
    for index in range(images):
        try:
            with step(f"reading of image {index}", seconds), limited_call(call, seconds, quiet=XAIError):
                return data[index]
        except CONTAINED as error:
            reason = reason or in_one_line(error)
            ended += isinstance(error, WorkerError)
            if ended == ENDING_IMAGES:
                raise
    if not images:
        raise DatasetError("the dataset contains no images")
    raise DatasetError(f"none of the {images} images of the dataset can be read: {reason}")


def _model_entry(
    settings: Settings, model: str | LoadedModel, data: Dataset, images: int, device: torch.device
) -> tuple[ModelEntry, dict[str, Explainer], dict[str, str]]:
    """Return a model's entry in the manifest, its explainers, and the hash of the user's code by the model's spec.

    A model that is loaded here is released again. Only a model from `source_files` has user code here.
    """
    spec = _spec(model)
    with step(f"loading of model {spec}"):
        loaded = load(model, device)
        weights = weights_hash(loaded.model)
    adapter = partial(probe, settings, spec, loaded, data, images, device)
    explainers, skipped = select_methods(settings, spec, adapter)
    code = {spec: code_hash(loaded)} if isinstance(model, str) and loaded.source_files else {}
    return ModelEntry(spec, weights, tuple(explainers), skipped), explainers, code


def _failed_entry(
    settings: Settings, model: str | LoadedModel
) -> tuple[ModelEntry, dict[str, Explainer], dict[str, str]]:
    """Return the entry of a model that ends the process: without weights, and with methods that are not probed."""
    explainers, skipped = select_methods(settings, _spec(model), lambda: None)
    return ModelEntry(_spec(model), "", tuple(explainers), skipped), explainers, {}


def _spec(model: str | LoadedModel) -> str:
    spec: object = model if isinstance(model, str) else model.spec or type(model.model).__name__
    if not isinstance(spec, str):
        raise OptionError(f"the spec of a LoadedModel must be a string, got {shown(spec)}")
    return encodable(spec)
