"""The training loop."""

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from xai_core.plugin import DatasetError, ModelOutputError, OptionError, TargetError, scores_of
from xai_zoo.training.images import TrainingImages, batches_of, steps_per_epoch
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
    device = _device(model)
    per_epoch = steps_per_epoch(len(training), recipe.batch)
    while (done := len(state.epochs)) < recipe.epochs and state.stale < recipe.patience:
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
            scores = class_scores(_training_output(model, images), targets)
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
        measured = measure(model, batches_of(validation, recipe.batch, workers))
        seconds = round(time.perf_counter() - start, 1)
        state.add(Epoch(done + 1, rate, loss_, accuracy, *measured, seconds), model)
        after_epoch()


@torch.no_grad()
def measure(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> Measured:
    """Measure the loss and accuracy of a model. The model stays in evaluation mode.

    Raises
    ------
    DatasetError
        If there is no image.
    ModelOutputError, TargetError
        As `class_scores`.
    """
    model.eval()
    device = _device(model)
    sums, seen = torch.zeros(2, device=device), 0
    for images, targets in batches:
        targets = targets.to(device)
        scores = class_scores(model(images.to(device)), targets)
        correct = (scores.argmax(1) == targets).sum()
        sums += torch.stack([F.cross_entropy(scores, targets, reduction="sum"), correct])
        seen += len(targets)
    if not seen:
        raise DatasetError("the dataset contains no image; expected at least one")
    loss, accuracy = (sums / seen).tolist()
    return Measured(loss, accuracy)


def class_scores(output: Any, targets: Tensor) -> Tensor:
    """Return the class scores [B,classes] in a model's output.

    Raises
    ------
    ModelOutputError
        If the output contains no class scores, as that of a segmentation model.
    TargetError
        If the model does not have the class of a target.
    """
    scores = scores_of(output)
    if scores is None or scores.ndim != 2 or len(scores) != len(targets):
        received = type(output).__name__ if scores is None else str(list(scores.shape))
        raise ModelOutputError(
            f"expected class scores [{len(targets)}, classes] from the model, got {received}; choose a model that"
            " classifies images"
        )
    lowest, highest, classes = int(targets.min()), int(targets.max()), scores.shape[1]
    if lowest < 0 or highest >= classes:
        raise TargetError(
            f"the dataset contains label {highest if highest >= classes else lowest}, but the model has {classes}"
            f" classes, 0 to {classes - 1}; set num_classes= in the model's spec"
        )
    return scores


def _training_output(model: nn.Module, images: Tensor) -> Any:
    try:
        return model(images)
    except ValueError as error:
        if len(images) > 1:
            raise
        raise OptionError(
            f"the model cannot be trained on a batch of one image ({error}); use more images, or a --batch of at least"
            " 2"
        ) from error


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters(), torch.empty(0)).device
