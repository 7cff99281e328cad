"""What training has come to, kept in a file after every epoch, so that it can go on from there."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn

from xai_core.plugin import CheckpointError, write

Settings = Mapping[str, str | int | float]


@dataclass(frozen=True)
class Epoch:
    """A row of the log, the first of number 1: losses are means over pictures, accuracies shares of them."""

    epoch: int
    rate: float
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


@dataclass
class State:
    """The epochs so far, and the weights of the best."""

    epochs: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best_epoch(self) -> Epoch:
        """The epoch of the highest accuracy on the validation set, the first of several."""
        return max(self.epochs, key=lambda epoch: epoch.validation_accuracy)

    def add(self, epoch: Epoch, model: nn.Module) -> None:
        """Note an epoch, and the weights if they are the best so far."""
        self.epochs.append(epoch)
        if epoch is self.best_epoch:
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}

    @property
    def stale(self) -> int:
        """How many epochs have passed since the best one."""
        return self.epochs[-1].epoch - self.best_epoch.epoch if self.epochs else 0

    def save(self, file: Path, settings: Settings, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Keep everything that the next epoch depends on."""
        moments = optimizer.state_dict()["state"]
        tensors = {
            **_under("model", model.state_dict()),
            **_under("best", self.best),
            **{f"optimizer.{of}.{name}": tensor for of, each in moments.items() for name, tensor in each.items()},
        }
        said = {"settings": json.dumps(settings), "epochs": json.dumps([asdict(epoch) for epoch in self.epochs])}
        write(file, save({name: tensor.contiguous() for name, tensor in tensors.items()}, said))

    @classmethod
    def load(cls, file: Path, settings: Settings, model: nn.Module, optimizer: torch.optim.Optimizer) -> "State":
        """Go back to what `save` kept.

        Raises
        ------
        CheckpointError
            Where it is of a training with other settings.
        """
        with safe_open(file, "pt") as kept:
            said = kept.metadata()
            tensors = {name: kept.get_tensor(name) for name in kept.keys()}  # noqa: SIM118 # not a mapping
        _require_same(file, json.loads(said["settings"]), settings)
        model.load_state_dict(_below("model", tensors))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _below("optimizer", tensors).items():
            of, _, moment = name.partition(".")
            moments.setdefault(int(of), {})[moment] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        return cls([Epoch(**epoch) for epoch in json.loads(said["epochs"])], _below("best", tensors))


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


def _require_same(file: Path, kept: Settings, given: Settings) -> None:
    differing = [name for name in {**kept, **given} if kept.get(name) != given.get(name)]
    if differing:
        shown = "; ".join(f"{name}: {kept.get(name)!r} there, {given.get(name)!r} here" for name in differing)
        raise CheckpointError(
            f"{file} is of a training with other settings ({shown}); give those, or another --out, or delete the file"
        )
