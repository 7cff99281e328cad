"""The training loop."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from xai_core.plugin import TargetError
from xai_zoo.training.images import TrainingImages
from xai_zoo.training.recipe import Recipe
from xai_zoo.training.seeds import seed_of
from xai_zoo.training.state import Epoch, State


class Measured(NamedTuple):
    """Mean loss and accuracy on a set of images."""

    loss: float
    accuracy: float


def train(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    training: TrainingImages,
    validation: TrainingImages,
    recipe: Recipe,
    state: State,
    workers: int,
    after_step: Callable[[], None],
    after_epoch: Callable[[], None],
) -> None:
    """Train for the remaining epochs of the recipe. Stop early if the validation accuracy does not improve."""
    device = next(model.parameters()).device
    per_epoch = -(-len(training) // recipe.batch)
    while (done := len(state.epochs)) < recipe.epochs and state.stale < recipe.patience:
        start, seed = time.perf_counter(), seed_of(recipe.seed, done)
        training.epoch = done
        torch.manual_seed(seed)
        order = torch.Generator().manual_seed(seed)
        batches = DataLoader(training, recipe.batch, shuffle=True, num_workers=workers, generator=order)
        model.train()
        sums, seen, rate = torch.zeros(2, device=device), 0, 0.0
        for step, (images, targets) in enumerate(batches, done * per_epoch):
            rate = recipe.rate_at(step, recipe.epochs * per_epoch)
            images, targets = images.to(device), targets.to(device)
            scores = model(images)
            _require_classes(scores, targets)
            loss = F.cross_entropy(scores, targets, label_smoothing=recipe.smoothing)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            correct = (scores.argmax(1) == targets).sum()
            sums += torch.stack([loss.detach() * len(images), correct])
            seen += len(images)
            after_step()
        loss_, accuracy = (sums / seen).tolist()
        measured = measure(model, DataLoader(validation, recipe.batch, num_workers=workers))
        seconds = round(time.perf_counter() - start, 1)
        state.add(Epoch(done + 1, rate, loss_, accuracy, *measured, seconds), model)
        after_epoch()


@torch.no_grad()
def measure(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Measured:
    """Measure the loss and accuracy of a model. The model stays in evaluation mode."""
    model.eval()
    device = next(model.parameters()).device
    sums, seen = torch.zeros(2, device=device), 0
    for images, targets in batches:
        scores, targets = model(images.to(device)), targets.to(device)
        correct = (scores.argmax(1) == targets).sum()
        sums += torch.stack([F.cross_entropy(scores, targets, reduction="sum"), correct])
        seen += len(targets)
    loss, accuracy = (sums / seen).tolist()
    return Measured(loss, accuracy)


def _require_classes(scores: Tensor, targets: Tensor) -> None:
    if (highest := int(targets.max())) >= scores.shape[1]:
        raise TargetError(
            f"the dataset contains label {highest}, but the model has {scores.shape[1]} classes; set num_classes= in"
            " the model's spec"
        )
