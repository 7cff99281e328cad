"""Random noise."""

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_core.plugin import check_seed

GOLDEN, FIRST, SECOND = (
    constant - 2**64 for constant in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)  # as signed integers, whose sums and products wrap around


class Random(xai.Explainer):
    """Random: independent uniform noise at each pixel, which does not depend on the model or the target.

    The noise is computed by integer arithmetic from the seed, the pixel, and the image rounded to bfloat16. Therefore,
    an image has the same noise in any batch, on any device and in any precision, and different images have different
    noise.

    Source of the mixing function: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014
    (SplitMix64).

    Parameters
    ----------
    seed
        Random seed of the noise.
    """

    name = "random"
    volumes = True
    targeted: ClassVar[bool] = False

    def __init__(self, seed: int = 0) -> None:
        self.seed = check_seed(seed)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request nothing."""
        return xai.Needs()

    def explain(self, captured: xai.Captured) -> Float[Tensor, "B *size"]:
        """Number the pixels, starting from a hash of the image and the seed, and mix each number."""
        images = captured.images
        bits = images.bfloat16().view(torch.int16).flatten(1).long()
        indices = torch.arange(bits.shape[1], device=bits.device)
        start = mixed(mixed(bits + (indices << 16)).sum(1, keepdim=True) + self.seed)  # [B,1]
        size = images.shape[2:]
        noise = mixed(start + indices[: size.numel()])
        return (logical_shift(noise, 40).float() / 2**24).unflatten(1, size)


def mixed(number: Int[Tensor, "..."]) -> Int[Tensor, "..."]:
    """Apply SplitMix64: each bit of the result depends on all bits of the 64-bit number."""
    number = number + GOLDEN
    number = (number ^ logical_shift(number, 30)) * FIRST
    number = (number ^ logical_shift(number, 27)) * SECOND
    return number ^ logical_shift(number, 31)


def logical_shift(number: Int[Tensor, "..."], by: int) -> Int[Tensor, "..."]:
    """Shift right and fill with zeros, also for negative numbers."""
    return (number >> by) & (2 ** (64 - by) - 1)
