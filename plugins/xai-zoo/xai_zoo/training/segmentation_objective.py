"""The objective of segmentation models."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

import xai_core as xai
from xai_core.plugin import OptionError, TargetError
from xai_zoo.training.objectives import Objective, label_of, require_classes
from xai_zoo.training.recipe import Recipe

RIGHT = 0.5
"""The intersection over union with the object above which a segmentation is correct."""


class OneRegion(Objective):
    """Segmentation of the only object of each image. The last class of the model is the background.

    The loss is the cross-entropy of all pixels, plus one minus the soft Dice coefficient of the object.

    A prediction is correct if the intersection over union of the object's mask and the pixels of its class exceeds 0.5.

    Source: Isensee et al., "nnU-Net: a self-configuring method for deep learning-based biomedical image segmentation",
    Nature Methods, 2021, which adds the two losses.
    """

    def check(self, recipe: Recipe) -> None:
        """See `Objective.check`."""
        if recipe.crop < 1 or recipe.flip:
            raise OptionError("a segmentation model is trained without crops and flips: pass --crop 1 --flip 0")

    def target(self, loaded: xai.LoadedModel, sample: xai.Sample) -> Int[Tensor, "H W"]:
        """Return the label at the pixels of the object in the model's input, and -1 at all other pixels."""
        if sample.mask is None:
            raise TargetError(f"{sample.id} has no mask; expected a dataset with the mask of the object in each image")
        return torch.where(xai.model_mask(loaded, sample), label_of(sample), -1).to(torch.int16)

    def measure(
        self, model: nn.Module, images: Tensor, targets: Tensor, smoothing: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """See `Objective.measure`."""
        scores = model(images)
        background = scores.shape[1] - 1
        require_classes(background, labels(targets))
        objects = targets >= 0
        pixels = targets.long().where(objects, background)
        cross_entropy = F.cross_entropy(scores, pixels, label_smoothing=smoothing)
        of_object = scores.softmax(1).gather(1, labels(targets)[:, None]).squeeze(1)
        return cross_entropy + 1 - dice(of_object, objects).mean(), right(scores, targets).sum()


def labels(targets: Int[Tensor, "B H W"]) -> Int[Tensor, "B H W"]:
    """Return the label of the object of each image, at all pixels."""
    return targets.amax((1, 2), keepdim=True).clamp(min=0).expand_as(targets).long()


def dice(probabilities: Float[Tensor, "B H W"], masks: Tensor) -> Float[Tensor, " B"]:
    """Return the soft Dice coefficient of probabilities and a mask, in [0,1]."""
    shared = (probabilities * masks).sum((1, 2))
    return (2 * shared + 1) / (probabilities.sum((1, 2)) + masks.sum((1, 2)) + 1)


def right(scores: Float[Tensor, "B classes H W"], targets: Int[Tensor, "B H W"]) -> Tensor:
    """Return whether the intersection over union of the object's class and its mask exceeds `RIGHT`."""
    assigned, masks = scores.argmax(1) == labels(targets), targets >= 0
    return (assigned & masks).sum((1, 2)) > RIGHT * (assigned | masks).sum((1, 2))
