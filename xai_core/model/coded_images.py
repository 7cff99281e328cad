"""Images that code locations: two textures, alternating in stripes whose sequence identifies each row and column.

The stripes of image k follow bit k of the Gray code of the position. The responses of a cell to all images determine
its position, for any model. In volumes, further stripes identify each slice.
"""

import copy
import itertools
import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from xai_core.model.layouts import Size

MOST_BITS = 6
"""The maximum number of bits per axis. They distinguish 64 positions."""


class CodedImages:
    """Coded images [C,H,W], or volumes [C,D,H,W].

    Parameters
    ----------
    shape
        (C, H, W), or (C, D, H, W).
    bits
        The number of bits that code the positions on each axis.
    mean, spread
        The mean and the standard deviation of the values that the model expects.
    seed
        The seed of the two textures.

    Attributes
    ----------
    textures
        The two textures.
    codes
        For each axis, the code of each pixel, [bits, side], 1 or -1.
    """

    def __init__(
        self, shape: tuple[int, ...], bits: tuple[int, ...], mean: float = 0.0, spread: float = 1.0, seed: int = 0
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.textures: Float[Tensor, "2 C *size"] = mean + spread * torch.stack(
            [_texture(shape, generator) for _ in range(2)]
        )
        self._coarser: dict[tuple[int, ...], CodedImages] = {}
        self._templates: dict[Size, list[Float[ndarray, "_ _"]]] = {}
        self.codes = tuple(_gray_code(*pixels_and_bits) for pixels_and_bits in zip(shape[1:], bits, strict=True))

    @property
    def pairs(self) -> int:
        """The number of pairs of images."""
        return sum(len(codes) for codes in self.codes)

    def each_pair(self) -> Iterator[Float[Tensor, "2 C *size"]]:
        """Yield pairs of complementary images: texture 1 where the code is 1 and texture 0 elsewhere, and vice versa.

        The bits of the first axis come first.
        """
        first, second = self.textures
        for axis, codes in enumerate(self.codes):
            shape = [1] * len(self.codes)
            shape[axis] = -1
            for code in codes:
                inside = code.view(shape) > 0
                yield torch.stack([torch.where(inside, second, first), torch.where(inside, first, second)])

    def coarser(self, bits: tuple[int, ...]) -> "CodedImages":
        """Return coded images with only the first bits of each axis, for coarser grids."""
        if bits not in self._coarser:
            self._coarser[bits] = coarser = copy.copy(self)
            coarser.codes = tuple(codes[:count] for codes, count in zip(self.codes, bits, strict=True))
            coarser._templates = {}
        return self._coarser[bits]

    def columns(self, bits: tuple[int, ...]) -> list[int]:
        """Return the indices of the pairs of images that encode the first bits of each axis."""
        starts = itertools.accumulate((len(codes) for codes in self.codes), initial=0)
        return [start + bit for start, count in zip(starts, bits, strict=False) for bit in range(count)]

    def templates(self, grid: Size) -> list[Float[ndarray, "_ _"]]:
        """Return, for each axis, the mean code of each position of a grid over the image."""
        if grid not in self._templates:
            sides = zip(self.codes, grid, strict=True)
            self._templates[grid] = [F.adaptive_avg_pool1d(codes, side).T.numpy() for codes, side in sides]
        return self._templates[grid]


def bits_for(side: float) -> int:
    """Return the number of bits that locate about `side` cells along an axis."""
    return min(math.ceil(math.log2(max(round(side), 2))) + 1, MOST_BITS)


def _gray_code(pixels: int, bits: int) -> Float[Tensor, "bits pixels"]:
    """Return the Gray code of each pixel's position, 1 or -1."""
    position = (torch.arange(pixels) + 0.5) / pixels
    index = (position * 2**bits).long()
    gray = index ^ (index >> 1)
    return torch.stack([1.0 - 2.0 * ((gray >> bit) & 1) for bit in reversed(range(bits))])


def _texture(shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "C *size"]:
    """Return noise in blocks of 1, 4 and 16 pixels, with a standard deviation of 1."""
    channels, *size = shape
    noise = torch.zeros(1, *shape)
    for block in (1, 4, 16):
        coarse = torch.randn(1, channels, *(-(-side // block) for side in size), generator=generator)
        for axis, side in enumerate(size, 2):
            coarse = coarse.repeat_interleave(block, axis).narrow(axis, 0, side)
        noise += coarse
    return noise[0] / noise.std()
