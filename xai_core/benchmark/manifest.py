"""What a run is of, down to versions and weights: what decides every number in it."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import nn

from xai_core.registry import registry


@dataclass(frozen=True)
class Subject:
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
    metrics
        Their specs, each with whether higher is better.
    left_out
        The metrics that `all` would have, and that are not for this data, with the reason.
    protocol, target, seed, precision, batch, shard, maps
        See `Settings`.
    device
        The kind of device, `cpu` or `cuda`.
    versions
        Of xai-core, its plugins and PyTorch.
    """

    subjects: tuple[Subject, ...]
    data: str
    images: int
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

    def json(self) -> str:
        """Write it, the same for the same content."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    @classmethod
    def of_json(cls, text: str) -> "Manifest":
        """Read it."""
        said = json.loads(text)
        subjects = (Subject(**{**one, "methods": tuple(one["methods"])}) for one in said.pop("subjects"))
        return cls(subjects=tuple(subjects), **said)

    @property
    def hash(self) -> str:
        """Names its content: 64 hexadecimal digits."""
        return hashlib.sha256(self.json().encode()).hexdigest()

    def differences(self, other: "Manifest") -> list[str]:
        """What another manifest says otherwise, a line each: `versions.torch: 2.9.0, now 2.10.0`."""
        mine, others = (dict(_leaves(json.loads(one.json()))) for one in (self, other))
        names = sorted(mine.keys() | others.keys())
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


def versions() -> dict[str, str]:
    """The versions of what computes: xai-core, its plugins, PyTorch and torchvision."""
    names = {"xai-core", "torch", *(plugin.distribution for plugin in registry().plugins if not plugin.broken)}
    return {name: version(name) for name in sorted(names)}
