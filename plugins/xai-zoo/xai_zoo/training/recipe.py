"""Training recipe: optimizer, schedule, augmentation and early stopping."""

import math
from dataclasses import dataclass

from xai_core.plugin import OptionError


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
        for name, least in {"epochs": 1, "batch": 1, "patience": 1, "seed": 0}.items():
            if getattr(self, name) < least:
                raise OptionError(f"{name}={getattr(self, name)} is too small; expected a whole number from {least} up")
        ranges = {
            "rate": (0 < self.rate < math.inf, "above 0"),
            "warmup": (0 <= self.warmup < 1, "from 0 to less than 1"),
            "decay": (0 <= self.decay < math.inf, "from 0 up"),
            "smoothing": (0 <= self.smoothing < 1, "from 0 to less than 1"),
            "clip": (self.clip > 0, "above 0"),
            "crop": (0 < self.crop <= 1, "above 0, and at most 1"),
            "flip": (0 <= self.flip <= 1, "from 0 to 1"),
        }
        for name, (valid, expected) in ranges.items():
            if not valid:
                raise OptionError(f"{name}={getattr(self, name)} is out of range; expected a number {expected}")

    def rate_at(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, counted from 0, out of `steps` steps."""
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return self.rate * (step + 1) / rising
        return self.rate * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2
