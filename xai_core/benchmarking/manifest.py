"""The manifest of a run: everything that its scores depend on, including versions and hashes of weights."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

from xai_core.benchmarking.settings import RecordedSettings

_HASHES = ("data_content", "weights", "code")


@dataclass(frozen=True)
class ModelEntry:
    """A model of the run.

    Attributes
    ----------
    spec
        Spec of the model.
    weights
        Hash of the model's weights, see `weights_hash`.
    methods
        Specs of the methods that explain the model.
    skipped
        Names of the methods that `all` skips for this model, with the reason.
    """

    spec: str
    weights: str
    methods: tuple[str, ...]
    skipped: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Manifest(RecordedSettings):
    """Everything that the scores of a run depend on.

    The recorded settings are attributes too: `protocol`, `seed`, `batch`, and so on.

    Attributes
    ----------
    models
        The models, with their methods.
    data
        Spec of the dataset.
    images
        Number of images, from the start of the dataset.
    data_content
        Hash that identifies the images, see `dataset_hash`.
    metrics
        For each metric's spec, in order, whether a higher score is better.
    skipped
        Names of the metrics that `all` skips for this dataset, with the reason.
    device
        Kind of device: `cpu` or `cuda`.
    versions
        Versions of Python and of the packages that compute scores, see `versions`.
    code
        For the spec of each model, method and metric that was passed as an object, or that a file of the user builds,
        its `code_hash`.
    """

    models: tuple[ModelEntry, ...]
    data: str
    images: int
    data_content: str
    metrics: Mapping[str, bool]
    skipped: Mapping[str, str]
    device: str
    versions: Mapping[str, str]
    code: Mapping[str, str]

    def __post_init__(self) -> None:
        super().__post_init__()
        mappings = [self.skipped, self.versions, self.code, *(model.skipped for model in self.models)]
        texts = [self.data, self.data_content, self.device, *self.metrics]
        texts += [text for model in self.models for text in (model.spec, model.weights, *model.methods)]
        texts += [text for mapping in mappings for item in mapping.items() for text in item]
        if not all(isinstance(text, str) for text in texts):
            raise TypeError("expected strings for all specs, names, reasons, versions and hashes")
        if not all(isinstance(higher, bool) for higher in self.metrics.values()):
            raise TypeError("expected true or false for each metric (whether higher is better)")
        if not isinstance(self.images, int) or self.images < 0:
            raise ValueError(f"expected a nonnegative integer as the number of images, got {self.images!r}")

    def __repr__(self) -> str:
        contents = f"{len(self.models)} models, {self.images} images, {len(self.metrics)} metrics"
        return f"<Manifest {self.hash[:12]}: {contents}>"

    def json(self) -> str:
        """Return the manifest as JSON text. Equal manifests have equal texts."""
        metrics = [{"metric": spec, "higher_is_better": higher} for spec, higher in self.metrics.items()]
        return json.dumps({**asdict(self), "metrics": metrics}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def of_json(cls, text: str) -> "Manifest":
        """Return the manifest that `json` wrote."""
        content = json.loads(text)
        content = {field.name: content.pop(field.name) for field in fields(cls)} | content
        models = (ModelEntry(**{**model, "methods": tuple(model["methods"])}) for model in content.pop("models"))
        metrics = {metric["metric"]: metric["higher_is_better"] for metric in content.pop("metrics")}
        return cls(models=tuple(models), metrics=metrics, **content)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the content, as 64 hexadecimal digits."""
        return hashlib.sha256(self.json().encode()).hexdigest()

    def differences(self, other: "Manifest") -> list[str]:
        """Return a line for each difference, such as `versions.torch: 2.9.0, now 2.10.0`, with hashes last."""
        before, now = (dict(_leaves(json.loads(manifest.json()))) for manifest in (self, other))
        names = sorted(before.keys() | now.keys(), key=lambda name: (any(kind in name for kind in _HASHES), name))
        return [
            f"{name}: {before.get(name, 'absent')}, now {now.get(name, 'absent')}"
            for name in names
            if before.get(name) != now.get(name)
        ]


def _leaves(content: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Iterate over the values of nested JSON objects, with names such as `models[0].weights`."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield from _leaves(value, f"{name}.{key}" if name else key)
    elif isinstance(content, list) and any(isinstance(value, dict) for value in content):
        for index, value in enumerate(content):
            yield from _leaves(value, f"{name}[{index}]")
    else:
        yield name, ", ".join(map(str, content)) if isinstance(content, list) else content
