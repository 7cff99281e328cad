"""The training loop."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from xai_core.plugin import DatasetError, OptionError
from xai_zoo.training.images import TrainingImages, batches_of, steps_per_epoch
from xai_zoo.training.objectives import Objective
from xai_zoo.training.recipe import Recipe
from xai_zoo.training.seeds import seed_of
from xai_zoo.training.state import Epoch, State


class Measured(NamedTuple):
    """Mean loss and accuracy on a set of images."""

    loss: float
    accuracy: float


def train(
    model: nn.Module,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    training: TrainingImages,
    validation: TrainingImages,
    recipe: Recipe,
    last: int,
    state: State,
    workers: int,
    after_step: Callable[[], None],
    after_epoch: Callable[[], None],
) -> None:
    """Train until epoch `last` of the recipe. Stop early if the validation accuracy does not improve."""
    device = _device(model)
    per_epoch = steps_per_epoch(len(training), recipe.batch)
    while (done := len(state.epochs)) < last and state.stale < recipe.patience:
        start, seed = time.perf_counter(), seed_of(recipe.seed, done)
        training.epoch = done
        torch.manual_seed(seed)
        order = torch.Generator().manual_seed(seed)
        batches = batches_of(training, recipe.batch, workers, order)
        model.train()
        sums, seen, rate = torch.zeros(2, device=device), 0, 0.0
        for step, (images, targets) in enumerate(batches, done * per_epoch):
            rate = recipe.rate_at(step, recipe.epochs * per_epoch)
            images, targets = images.to(device), targets.to(device)
            loss, correct = _measured(objective, model, images, targets, recipe.smoothing)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            sums += torch.stack([loss.detach() * len(images), correct])
            seen += len(images)
            after_step()
        loss_, accuracy = (sums / seen).tolist()
        measured = measure(model, objective, batches_of(validation, recipe.batch, workers))
        seconds = round(time.perf_counter() - start, 1)
        state.add(Epoch(done + 1, rate, loss_, accuracy, *measured, seconds), model)
        after_epoch()


@torch.no_grad()
def measure(model: nn.Module, objective: Objective, batches: Iterable[tuple[Tensor, Tensor]]) -> Measured:
    """Measure the loss and accuracy of a model for an objective. The model stays in evaluation mode.

    Raises
    ------
    DatasetError
        If there is no image.
    ModelOutputError, TargetError
        As `Objective.measure`.
    """
    model.eval()
    device = _device(model)
    sums, seen = torch.zeros(2, device=device), 0
    for images, targets in batches:
        targets = targets.to(device)
        loss, correct = objective.measure(model, images.to(device), targets)
        sums += torch.stack([loss * len(targets), correct])
        seen += len(targets)
    if not seen:
        raise DatasetError("the dataset contains no image; expected at least one")
    mean_loss, accuracy = (sums / seen).tolist()
    return Measured(mean_loss, accuracy)


def _measured(
    objective: Objective, model: nn.Module, images: Tensor, targets: Tensor, smoothing: float
) -> tuple[Tensor, Tensor]:
    try:
        return objective.measure(model, images, targets, smoothing)
    except ValueError as error:
        if len(images) > 1:
            raise
        raise OptionError(
            f"the model cannot be trained on a batch of one image ({error}); use more images, or a --batch of at least"
            " 2"
        ) from error


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters(), torch.empty(0)).device
