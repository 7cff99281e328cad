"""State of a training run. It is saved after every epoch, so that an interrupted run can resume."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from xai_core.plugin import CheckpointError, is_file, write_file
from xai_zoo.training.encoding import encoded

Settings = Mapping[str, str | int | float]
_CHECKSUM = "sha256"


@dataclass(frozen=True)
class Epoch:
    """Row of the log. Epochs are numbered from 1. Losses are means over images, accuracies are fractions of images."""

    epoch: int
    rate: float
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


@dataclass
class State:
    """The completed epochs, and the weights of the best epoch."""

    epochs: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best_epoch(self) -> Epoch:
        """Epoch with the highest validation accuracy. If several are equal, the first of them."""
        return max(self.epochs, key=lambda epoch: epoch.validation_accuracy)

    def add(self, epoch: Epoch, model: nn.Module) -> None:
        """Add an epoch, and keep the weights if they are the best so far."""
        self.epochs.append(epoch)
        if epoch is self.best_epoch:
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}

    @property
    def stale(self) -> int:
        """Number of epochs since the best epoch."""
        return self.epochs[-1].epoch - self.best_epoch.epoch if self.epochs else 0

    def save(self, file: Path, settings: Settings, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Save everything that the next epoch depends on."""
        moments = optimizer.state_dict()["state"]
        tensors = {
            **_under("model", model.state_dict()),
            **_under("best", self.best),
            **{f"optimizer.{of}.{name}": tensor for of, each in moments.items() for name, tensor in each.items()},
        }
        metadata = {"settings": settings, "epochs": [asdict(epoch) for epoch in self.epochs]}
        write_file(file, encoded(tensors, {**metadata, _CHECKSUM: _checksum(tensors, metadata)}))

    @classmethod
    def load(cls, file: Path, settings: Settings, model: nn.Module, optimizer: torch.optim.Optimizer) -> "State":
        """Restore the state that `save` wrote.

        Raises
        ------
        CheckpointError
            If the file is damaged, or belongs to a training run with other settings.
        """
        try:
            metadata, tensors = _read(file)
            saved = _mapping(json.loads(metadata["settings"]))
            epochs = _epochs(json.loads(metadata["epochs"]))
        except Exception as error:  # safetensors raises errors of several classes
            raise _damaged(file, error) from error
        _require_same(file, saved, settings)
        try:
            own, best = model.state_dict(), _below("best", tensors)
            moments = _moments(_below("optimizer", tensors), optimizer)
            for saved_weights in (best, _below("model", tensors)):
                _require_shapes(saved_weights, {name: tensor.shape for name, tensor in own.items()})
        except (KeyError, ValueError) as error:
            raise _damaged(file, error) from error
        model.load_state_dict(_below("model", tensors))
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        return cls(epochs, best)


def _read(file: Path) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    if not is_file(file):
        raise ValueError("it is not a regular file")
    with safe_open(file, "pt") as opened:
        metadata = dict(opened.metadata() or {})
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    if metadata.pop(_CHECKSUM, None) != _checksum(tensors, metadata):
        raise ValueError("its content does not match its checksum")
    return metadata, tensors


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the file without its checksum."""
    return hashlib.sha256(encoded(tensors, metadata)).hexdigest()


def _mapping(settings: Any) -> Settings:
    if not isinstance(settings, dict):
        raise ValueError(f"its settings are {settings!r}")
    return settings


def _epochs(rows: Any) -> list[Epoch]:
    epochs = [Epoch(**row) for row in rows]
    numbers = [value for epoch in epochs for value in astuple(epoch)]
    if not all(isinstance(number, int | float) for number in numbers):
        raise ValueError("its epochs contain values that are not numbers")
    if not epochs or [epoch.epoch for epoch in epochs] != [*range(1, len(epochs) + 1)]:
        raise ValueError("its epochs are not numbered from 1")
    return epochs


def _moments(tensors: Mapping[str, Tensor], optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Tensor]]:
    """Return the state of AdamW by the number of the parameter."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        of, _, moment = name.partition(".")
        moments.setdefault(int(of), {})[moment] = tensor
    for number, own in moments.items():
        if not 0 <= number < len(parameters):
            raise ValueError(f"its optimizer has the parameter {number}")
        shape = parameters[number].shape
        _require_shapes(own, {"step": torch.Size(), "exp_avg": shape, "exp_avg_sq": shape})
    return moments


def _require_shapes(tensors: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    for name in {**expected, **tensors}:
        shape = tensors[name].shape if name in tensors else None
        if shape != expected.get(name):
            raise ValueError(f"it has {_shown(shape)} for {name}; expected {_shown(expected.get(name))}")


def _shown(shape: torch.Size | None) -> str:
    return "nothing" if shape is None else str(list(shape))


def _damaged(file: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{file} is not the state of a training run ({type(error).__name__}: {error}); delete it to train from the"
        " start"
    )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def _require_same(file: Path, saved: Settings, current: Settings) -> None:
    differing = [name for name in {**saved, **current} if saved.get(name) != current.get(name)]
    if differing:
        shown = "; ".join(f"{name}: {saved.get(name)!r} in the file, {current.get(name)!r} now" for name in differing)
        raise CheckpointError(
            f"{file} belongs to a training run with other settings ({shown}); use its settings, choose another --out, "
            "or delete the file"
        )
