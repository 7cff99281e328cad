"""Filling in missing pixels by what their neighbors suggest: a linear system, solved on the device."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from xai_core.plugin import ConvergenceError

TOLERANCE = 1e-6
"""Of the residual, as a share of the right side."""
MOST_STEPS, CHECK_EVERY = 400, 4


def impute(images: Float[Tensor, "N C H W"], missing: Bool[Tensor, "N H W"]) -> Float[Tensor, "N C H W"]:
    """Make each missing pixel the weighted mean of its eight neighbors, missing or not.

    The weights are 1/6 for direct and 1/12 for diagonal neighbors, divided by their sum at the border. Of an image
    of which no pixel is known nothing can be said: it becomes zero.

    Solved by conjugate gradients for all channels and images at once. Plain ones take about as many steps as the
    largest hole is wide; preconditioned by sums over all grids (`Multilevel`), a few dozen, also where an image is
    hundreds of times as long as it is wide. What has converged stays as it is, so that an image does not depend on the
    others.

    Source: Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML 2022, section
    4.2. The preconditioner: Bramble, Pasciak and Xu, "Parallel Multilevel Preconditioners", Mathematics of Computation
    1990.

    Raises
    ------
    ConvergenceError
        Where it does not converge.
    """
    values = images if images.dtype == torch.float64 else images.float()
    gaps = missing[:, None].to(values.dtype)
    known = 1 - gaps
    mean = dot(values, known) / dot(known, known).clamp(min=1)  # solving for what differs from it loses fewer digits
    rows, columns = (bordered(gaps[:1], dim) for dim in (2, 3))
    degree = (4 * rows * columns - 1) / 3

    def system(x: Tensor) -> Tensor:  # degree * x - neighbors(x), in differences, which lose fewer digits
        across = bend(x, 3)
        return gaps * (-4 / 3) * (rows * across + columns * bend(x, 2) + bend(across, 2))

    right = gaps * neighbors(known * (values - mean))
    filled = conjugate_gradients(system, right, Multilevel(gaps, known, degree))
    return torch.where(missing[:, None], (mean + filled).to(images.dtype), images)


def neighbors(values: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """The weighted sum of the eight neighbors, with zeros beyond the border: [1 2 1; 2 0 2; 1 2 1] / 12."""
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


def bordered(like: Float[Tensor, "1 1 H W"], dim: int) -> Float[Tensor, "1 1 H W"]:
    """The weight of [1 2 1] / 4 along a dimension that is not beyond the border: 1 inside."""
    inside = torch.ones_like(like)
    inside.narrow(dim, 0, 1).sub_(0.25)
    inside.narrow(dim, like.shape[dim] - 1, 1).sub_(0.25)
    return inside


def bend(values: Float[Tensor, "N C H W"], dim: int) -> Float[Tensor, "N C H W"]:
    """What [1 2 1] / 4 along a dimension adds to values that it weighs within the border: second differences."""
    steps, bent = values.diff(dim=dim) / 4, torch.zeros_like(values)
    size = values.shape[dim] - 1
    bent.narrow(dim, 0, size).add_(steps)
    bent.narrow(dim, 1, size).sub_(steps)
    return bent


class Multilevel:
    """An approximate inverse: the sum over grids of bilinear restriction, division by a diagonal, and its transpose.

    Each grid halves both sides of the one before, down to a single place; a side of one stays. The hats of each grid
    are cut at what is known. The diagonal is what the system gives for such a hat: its energy where it is in the gap,
    and what it loses at the known neighbors of the gap's pixels.
    """

    def __init__(self, gaps: Tensor, known: Tensor, degree: Tensor) -> None:
        self._gaps, self._sums, self._scales = gaps, list[Tensor](), [gaps / degree.clamp(min=1e-12)]
        gap, lost = gaps, gaps * neighbors(known)
        while max(gap.shape[2:]) > 1:
            self._sums.append(binomial(torch.ones_like(gap[:1])))
            level = len(self._sums)
            gap, lost = self._coarser(gap, level), self._coarser(lost, level)
            (down, steep), (across, slanted) = (hat(places, level) for places in gap.shape[2:])
            diagonal = (steep * across + down * slanted) / 3 * gap + down * across * lost
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
        sums = self._sums[level - 1]
        height, width = sums.shape[2:]
        return binomial(F.interpolate(values, scale_factor=2)[..., :height, :width]) / sums

    def _coarser(self, values: Tensor, level: int) -> Tensor:
        """Its transpose."""
        smooth = binomial(values / self._sums[level - 1])
        return 4 * F.avg_pool2d(F.pad(smooth, (0, smooth.shape[3] % 2, 0, smooth.shape[2] % 2)), 2)


def hat(places: int, level: int) -> tuple[float, float]:
    """Squares of a linear hat of width 2^level and of its slope, over its sum; that of a single place is flat."""
    return (1, 0) if places == 1 else (2 / 3, 2 / 4**level)


def conjugate_gradients(
    system: Callable[[Tensor], Tensor], right: Float[Tensor, "N C H W"], inverse: Callable[[Tensor], Tensor]
) -> Float[Tensor, "N C H W"]:
    """Solve each image and channel from zero, preconditioned by `inverse`; those that have converged rest.

    Raises
    ------
    ConvergenceError
        Where one has not after `MOST_STEPS`.
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
    else:
        if busy.any():
            raise ConvergenceError(
                f"the imputation of missing pixels has not converged in {MOST_STEPS} steps, where a few dozen are "
                "usual; give the model and the images in float64"
            )
    return solution


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
