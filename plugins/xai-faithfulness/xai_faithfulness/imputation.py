"""Filling in missing pixels by what their neighbours suggest: a linear system, solved on the device."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

TOLERANCE = 1e-6
"""Of the residual, as a share of the right side."""
MOST_STEPS, CHECK_EVERY = 400, 4
COARSEST = 3
"""The shorter side of the coarsest grid, in pixels."""
ENERGY, AREA = 8 / 9, 4 / 9
"""Of a bilinear hat on a coarse grid: its x'Ax in the system, whatever its width, and its mean square."""


def impute(images: Float[Tensor, "N C H W"], missing: Bool[Tensor, "N H W"]) -> Float[Tensor, "N C H W"]:
    """Make each missing pixel the weighted mean of its eight neighbours, missing or not.

    The weights are 1/6 for direct and 1/12 for diagonal neighbours, divided by their sum at the border. Of an image
    of which no pixel is known nothing can be said: it becomes zero.

    Solved by conjugate gradients for all channels and images at once. Plain ones take about as many steps as the
    largest hole is wide; preconditioned by sums over all grids (`Multilevel`), a few dozen. What has converged stays
    as it is, so that an image does not depend on the others.

    Source: Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML 2022, section
    4.2. The preconditioner: Bramble, Pasciak and Xu, "Parallel Multilevel Preconditioners", Mathematics of Computation
    1990.
    """
    size = images.shape[-2:]
    wide = images if images.dtype == torch.float64 else images.float()
    levels, padding = grids(*size)
    values, inside = F.pad(wide, padding), F.pad(torch.ones_like(wide[:1, :1]), padding)
    gaps = F.pad(missing[:, None].to(wide.dtype), padding)
    known = inside - gaps
    mean = dot(values, known) / dot(known, known).clamp(min=1)  # solving for what differs from it loses fewer digits
    degree = neighbours(inside)

    def system(x: Tensor) -> Tensor:
        return gaps * (degree * x - neighbours(x))

    right = gaps * neighbours(known * (values - mean))
    filled = conjugate_gradients(system, right, Multilevel(gaps, known, degree, levels))
    filled = (mean + filled)[..., : size[0], : size[1]].to(images.dtype)
    return torch.where(missing[:, None], filled, images)


def neighbours(values: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """The weighted sum of the eight neighbours, with zeros beyond the border: [1 2 1; 2 0 2; 1 2 1] / 12."""
    return (4 * binomial(values) - values) / 3


def binomial(values: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """Smooth by [1 2 1; 2 4 2; 1 2 1] / 16, with zeros beyond the border."""
    rows = 2 * values
    rows[..., 1:, :] += values[..., :-1, :]
    rows[..., :-1, :] += values[..., 1:, :]
    both = 2 * rows
    both[..., 1:] += rows[..., :-1]
    both[..., :-1] += rows[..., 1:]
    return both / 16


def grids(height: int, width: int) -> tuple[int, tuple[int, int, int, int]]:
    """How often a grid can be halved, and the padding at the right and the bottom that makes all of them even."""
    levels = 0
    while min(height, width) >> (levels + 1) >= COARSEST:
        levels += 1
    return levels, (0, -width % 2**levels, 0, -height % 2**levels)


class Multilevel:
    """An approximate inverse: the sum over grids of bilinear restriction, division by a diagonal, and its transpose.

    The hats of each grid are cut at what is known. The diagonal is what the system gives for such a hat: its energy
    where it is in the gap, and what it loses at the known neighbours of the gap's pixels.
    """

    def __init__(self, gaps: Tensor, known: Tensor, degree: Tensor, levels: int) -> None:
        self._gaps, self._sums, self._scales = gaps, [], [gaps / degree.clamp(min=1e-12)]
        gap, lost = gaps, gaps * neighbours(known)
        for level in range(1, levels + 1):
            self._sums.append(binomial(torch.ones_like(gap[:1])))
            gap, lost = self._coarser(gap, level), self._coarser(lost, level)
            diagonal = ENERGY * gap / 4**level + AREA * lost
            self._scales.append((gap > 0) / diagonal.clamp(min=1e-12))

    def __call__(self, residual: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Go down the grids, and add up on the way back."""
        residuals = [residual]
        for level in range(1, len(self._scales)):
            residuals.append(self._coarser(residuals[-1], level))
        total = residuals[-1] * self._scales[-1]
        for level in range(len(self._scales) - 1, 0, -1):
            total = self._finer(total, level) + residuals[level - 1] * self._scales[level - 1]
        return self._gaps * total

    def _finer(self, values: Tensor, level: int) -> Tensor:
        """Bilinear interpolation from a grid to the one above it."""
        return binomial(F.interpolate(values, scale_factor=2)) / self._sums[level - 1]

    def _coarser(self, values: Tensor, level: int) -> Tensor:
        """Its transpose."""
        return 4 * F.avg_pool2d(binomial(values / self._sums[level - 1]), 2)


def conjugate_gradients(
    system: Callable[[Tensor], Tensor], right: Float[Tensor, "N C H W"], inverse: Callable[[Tensor], Tensor]
) -> Float[Tensor, "N C H W"]:
    """Solve each image and channel from zero, preconditioned by `inverse`; those that have converged rest.

    NaN where one has not after `MOST_STEPS`.
    """
    solution = torch.zeros_like(right)
    residual, limit = right, TOLERANCE**2 * dot(right, right)
    direction = step = inverse(residual)
    slope, busy = dot(residual, step), limit > 0
    ended = arriving(busy)
    for number in range(1, MOST_STEPS + 1):
        moved = system(direction)
        length = torch.where(busy, slope / dot(direction, moved), 0)
        solution, residual = solution + length * direction, residual - length * moved
        busy = busy & (dot(residual, residual) > limit)
        if number % CHECK_EVERY == 0:
            if ended():
                break
            ended = arriving(busy)
        step = inverse(residual)
        slope, before = dot(residual, step), slope
        direction = step + torch.where(busy, slope / before, 0) * direction
    return solution.masked_fill(busy, torch.nan)


def dot(one: Float[Tensor, "N C H W"], other: Float[Tensor, "N c H W"]) -> Float[Tensor, "N C 1 1"]:
    """The inner product over places."""
    return (one * other).sum((2, 3), keepdim=True)


def arriving(busy: Bool[Tensor, "N C 1 1"]) -> Callable[[], bool]:
    """Send to the host whether all have ended; asked later, while the device is at work further on, it is there."""
    still = busy.any().reshape(1)
    if still.device.type != "cuda":
        return lambda: still.tolist() == [False]
    host = torch.empty(1, dtype=torch.bool, pin_memory=True).copy_(still, non_blocking=True)
    event = torch.cuda.Event()
    event.record()

    def ended() -> bool:
        event.synchronize()
        return host.tolist() == [False]

    return ended
