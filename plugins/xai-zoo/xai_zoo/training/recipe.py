"""Training recipe: optimizer, schedule, augmentation and early stopping."""

import math
from dataclasses import dataclass

from xai_core.plugin import check_integer, check_number


@dataclass(frozen=True)
class Recipe:
    """AdamW (Loshchilov and Hutter, 2019) with a linear warm-up and a cosine schedule, and early stopping.

    Attributes
    ----------
    epochs, batch
        Maximum number of epochs, and the batch size.
    rate
        Maximum learning rate. It is reached after the fraction `warmup` of all steps.
    warmup
        Fraction of the steps in which the learning rate rises.
    decay
        Weight decay of matrices and convolution kernels.
    smoothing
        Label smoothing, in [0, 1).
    clip
        Maximum norm of the gradient of a step.
    crop, flip
        Minimum area of a random crop as a fraction of the image (1 disables cropping), and the probability of a
        horizontal flip.
    patience
        Number of epochs without a better validation accuracy after which training stops.
    seed
        Random seed of the weights, the order of images, their augmentation, and dropout.
    """

    epochs: int = 60
    batch: int = 128
    rate: float = 1e-3
    warmup: float = 0.05
    decay: float = 0.05
    smoothing: float = 0.1
    clip: float = 1.0
    crop: float = 0.6
    flip: float = 0.5
    patience: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        check_integer("epochs", self.epochs, 1)
        check_integer("batch", self.batch, 1)
        check_number("rate", self.rate, above=0)
        check_number("warmup", self.warmup, minimum=0, below=1)
        check_number("decay", self.decay, minimum=0)
        check_number("smoothing", self.smoothing, minimum=0, below=1)
        if self.clip != math.inf:  # infinity turns clipping off
            check_number("clip", self.clip, above=0)
        check_number("crop", self.crop, above=0, maximum=1)
        check_number("flip", self.flip, minimum=0, maximum=1)
        check_integer("patience", self.patience, 1)
        check_integer("seed", self.seed, 0)

    def rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from 0, out of `steps` steps."""
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return self.rate * (step + 1) / rising
        return self.rate * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2
