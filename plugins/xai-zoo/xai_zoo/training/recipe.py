"""How a model is trained: one recipe, with arguments instead of copies."""

import math
from dataclasses import dataclass

from xai_core.plugin import OptionError


@dataclass(frozen=True)
class Recipe:
    """AdamW (Loshchilov and Hutter, 2019) with a linear warm-up and a cosine schedule, and early stopping.

    Attributes
    ----------
    epochs, batch
        The most passes over the pictures, and how many pictures a step takes.
    rate
        The highest learning rate, after the first `warmup` (a share) of all steps.
    decay
        Weight decay, of matrices and kernels alone.
    smoothing
        Label smoothing, in [0, 1).
    clip
        The largest norm of a step's gradient.
    crop, flip
        The least share of its area that a random crop leaves of a picture (1: no crops), and the probability that it is
        mirrored.
    patience
        Training ends after so many epochs without a better accuracy on the validation set.
    seed
        Of the weights, the order of pictures, their augmentation, and dropout.
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
        for name, (within, expected) in ranges.items():
            if not within:
                raise OptionError(f"{name}={getattr(self, name)} is out of range; expected a number {expected}")

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of a step, counted from 0, of so many."""
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return self.rate * (step + 1) / rising
        return self.rate * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising))) / 2
