"""Objectives of training: the loss of a batch, and the number of correctly predicted images."""

from abc import ABC, abstractmethod
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

import xai_core as xai
from xai_core.plugin import ModelOutputError, TargetError, scores_of
from xai_zoo.training.recipe import Recipe


class Objective(ABC):
    """The objective of the training of one kind of model."""

    def check(self, recipe: Recipe) -> None:  # noqa: B027 # most objectives accept every recipe
        """Raise an `OptionError` if the objective does not support a recipe."""

    @abstractmethod
    def target(self, loaded: xai.LoadedModel, sample: xai.Sample) -> "int | Tensor":
        """Return the target of a sample, with the coordinates of the model's input.

        Raises
        ------
        TargetError
            If the sample has no target.
        """

    @abstractmethod
    def measure(
        self, model: nn.Module, images: Tensor, targets: Tensor, smoothing: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Return the mean loss of the images, and the number of images with a correct prediction.

        Raises
        ------
        ModelOutputError
            If the output does not have the format of this kind of model.
        TargetError
            If the model does not have the class of a target.
        """


class Classification(Objective):
    """Cross-entropy. A prediction is correct if the class with the highest score is the label."""

    def target(self, loaded: xai.LoadedModel, sample: xai.Sample) -> int:
        """See `Objective.target`."""
        return label_of(sample)

    def measure(
        self, model: nn.Module, images: Tensor, targets: Tensor, smoothing: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """See `Objective.measure`."""
        scores = class_scores(model(images), len(targets))
        require_classes(scores.shape[1], targets)
        return F.cross_entropy(scores, targets, label_smoothing=smoothing), (scores.argmax(1) == targets).sum()


def label_of(sample: xai.Sample) -> int:
    """Return the label of a sample."""
    if sample.target is None:
        raise TargetError(f"{sample.id} has no label; expected a dataset with a label for each image")
    return sample.target


def class_scores(output: Any, rows: int) -> Float[Tensor, "B classes"]:
    """Return the class scores in a model's output for `rows` images.

    Raises
    ------
    ModelOutputError
        If the output contains no class scores, such as the output of a segmentation model.
    """
    scores = scores_of(output)
    if scores is None or scores.ndim != 2 or len(scores) != rows:
        received = type(output).__name__ if scores is None else str(list(scores.shape))
        raise ModelOutputError(
            f"expected class scores [{rows}, classes] from the model, got {received}; choose a model that classifies"
            " images"
        )
    return scores


def require_classes(classes: int, labels: Tensor) -> None:
    """Raise a `TargetError` if a label is not the number of a class."""
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= classes:
        raise TargetError(
            f"the dataset contains label {highest if highest >= classes else lowest}, but the model has {classes}"
            f" classes, 0 to {classes - 1}; set num_classes= in the model's spec"
        )
