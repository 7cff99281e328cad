"""State of a training run. It is saved after every epoch, so that an interrupted run can resume."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from xai_core.plugin import CheckpointError, write_file

Settings = Mapping[str, str | int | float]


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
        metadata = {"settings": json.dumps(settings), "epochs": json.dumps([asdict(epoch) for epoch in self.epochs])}
        write_file(file, save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata))

    @classmethod
    def load(cls, file: Path, settings: Settings, model: nn.Module, optimizer: torch.optim.Optimizer) -> "State":
        """Restore the state that `save` wrote.

        Raises
        ------
        CheckpointError
            If the file belongs to a training run with other settings.
        """
        with safe_open(file, "pt") as saved:
            metadata = saved.metadata()
            tensors = {name: saved.get_tensor(name) for name in saved.keys()}  # noqa: SIM118 # not a mapping
        _require_same(file, json.loads(metadata["settings"]), settings)
        model.load_state_dict(_below("model", tensors))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("optimizer", tensors).items():
            of, _, moment = name.partition(".")
            moments.setdefault(int(of), {})[moment] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        return cls([Epoch(**epoch) for epoch in json.loads(metadata["epochs"])], _below("best", tensors))


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
