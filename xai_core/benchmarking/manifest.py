"""What a run is of, down to versions and weights: what decides every number in it."""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from itertools import islice
from typing import Any

import numpy as np
import torch
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from torch import nn

from xai_core.benchmarking.settings import TIME_LIMIT
from xai_core.data.pairs import Pairs
from xai_core.data.sources import Dataset, Sample
from xai_core.plugins.registry import registry


@dataclass(frozen=True)
class ModelEntry:
    """A model of the run: its spec, its weights, and the methods that explain it.

    `left_out` are those that `all` would have, and that are not for this model, with the reason.
    """

    model: str
    weights: str
    methods: tuple[str, ...]
    left_out: Mapping[str, str]


@dataclass(frozen=True)
class Manifest:
    """What every number of a run follows from.

    Attributes
    ----------
    subjects
        The models.
    data, images
        The data set's spec, and how many of its images, from the first.
    data_content
        Which images these are, see `content_hash`.
    metrics
        Their specs in order, each with whether higher is better.
    left_out
        The metrics that `all` would have, and that are not for this data, with the reason.
    protocol, target, seed, precision, batch, shard, maps, time_limit
        See `Settings`.
    device
        The kind of device, `cpu` or `cuda`.
    versions
        Of what computes, see `versions`.
    code
        Of models, methods and metrics that were given as objects, by spec: their `code_hash`.
    """

    subjects: tuple[ModelEntry, ...]
    data: str
    images: int
    data_content: str
    metrics: Mapping[str, bool]
    left_out: Mapping[str, str]
    protocol: str | None
    target: str
    seed: int
    precision: str
    batch: int
    shard: int
    maps: bool
    device: str
    versions: Mapping[str, str]
    code: Mapping[str, str]
    time_limit: float = TIME_LIMIT

    def json(self) -> str:
        """Write it, the same for the same content."""
        metrics = [{"metric": spec, "higher_is_better": higher} for spec, higher in self.metrics.items()]
        return json.dumps({**asdict(self), "metrics": metrics}, indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def of_json(cls, text: str) -> "Manifest":
        """Read it."""
        said = json.loads(text)
        subjects = (ModelEntry(**{**one, "methods": tuple(one["methods"])}) for one in said.pop("subjects"))
        metrics = {one["metric"]: one["higher_is_better"] for one in said.pop("metrics")}
        return cls(subjects=tuple(subjects), metrics=metrics, **said)

    @property
    def hash(self) -> str:
        """Names its content: 64 hexadecimal digits."""
        return hashlib.sha256(self.json().encode()).hexdigest()

    def differences(self, other: "Manifest") -> list[str]:
        """What another manifest says otherwise, a line each: `versions.torch: 2.9.0, now 2.10.0`; hashes last."""
        mine, others = (dict(_leaves(json.loads(one.json()))) for one in (self, other))
        hashed = ("data_content", "weights", "code")
        names = sorted(mine.keys() | others.keys(), key=lambda name: (any(one in name for one in hashed), name))
        return [
            f"{name}: {mine.get(name, 'absent')}, now {others.get(name, 'absent')}"
            for name in names
            if mine.get(name) != others.get(name)
        ]


def _leaves(said: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(said, dict):
        for key, value in said.items():
            yield from _leaves(value, f"{name}.{key}" if name else key)
    elif isinstance(said, list) and any(isinstance(one, dict) for one in said):
        for number, value in enumerate(said):
            yield from _leaves(value, f"{name}[{number}]")
    else:
        yield name, ", ".join(map(str, said)) if isinstance(said, list) else said


def weights_hash(model: nn.Module) -> str:
    """Name the content of a model's parameters and buffers, and what they are called: 64 hexadecimal digits."""
    content = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if isinstance(tensor, torch.Tensor):
            plain = tensor.detach().cpu().contiguous()
            content.update(f"{name} {plain.dtype} {list(plain.shape)}\n".encode())
            content.update(plain.flatten().view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


def content_hash(data: Dataset, images: int, readable: Sample, labeled: bool = False) -> str:
    """Name which images these are, as 64 hexadecimal digits, without decoding any but the one that is readable.

    They are named by the ids of as many as are asked for, where the data set has `ids`, or else by the id and the
    pixels of the first that is readable; and if they are `labeled`, by what the data set says of labels.
    """
    ids = getattr(data, "ids", None)
    if isinstance(ids, Sequence):
        content = hashlib.sha256(json.dumps([str(one) for one in islice(ids, images)]).encode())
    else:
        image = readable.image
        if isinstance(image, torch.Tensor):
            image = image.detach().cpu()
            image = image.float() if image.dtype == torch.bfloat16 else image  # which NumPy has not
        pixels = np.ascontiguousarray(image)
        content = hashlib.sha256(f"{readable.id} {pixels.dtype} {list(pixels.shape)}\n".encode())
        content.update(pixels.tobytes())
    if labeled:
        names = getattr(data, "class_names", None)
        labels = getattr(data.pairs if isinstance(data, Pairs) else data, "targets", None)
        known = [str(one) for one in islice(labels, images)] if isinstance(labels, Iterable) else None
        content.update(json.dumps([names and [*map(str, names)], known, readable.target]).encode())
    return content.hexdigest()


def versions() -> dict[str, str]:
    """The versions of what computes: xai-core, its plugins with what those alone require, such as captum, PyTorch, and
    what models and images come from.
    """
    names = {"xai-core", "numpy", "pillow", "scipy", "timm", "torch", "torchvision"}
    plugins = {plugin.distribution for plugin in registry().plugins if not plugin.broken}
    required = {name for plugin in plugins for name in _required(plugin)} - _required("xai-core")
    found = {}
    for name in sorted(names | plugins | required):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _required(distribution: str) -> set[str]:
    """The distributions that a distribution requires here, extras aside."""
    with contextlib.suppress(PackageNotFoundError, InvalidRequirement):
        asked = [Requirement(text) for text in requires(distribution) or ()]
        return {canonicalize_name(one.name) for one in asked if not one.marker or one.marker.evaluate({"extra": ""})}
    return set()
