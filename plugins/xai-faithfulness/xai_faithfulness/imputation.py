"""Imputation of missing pixels from their neighbors: a linear system that is solved on the device."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from xai_core.plugin import ConvergenceError

TOLERANCE = 1e-6
"""Largest norm of the residual, relative to the norm of the right-hand side."""
MAX_STEPS, CHECK_EVERY = 400, 4


def impute(images: Float[Tensor, "N C H W"], missing: Bool[Tensor, "N H W"]) -> Float[Tensor, "N C H W"]:
    """Set each missing pixel to the weighted mean of its eight neighbors, missing or not.

    The weights are 1/6 for direct and 1/12 for diagonal neighbors, divided by their sum at the border. An image without
    known pixels becomes zero.

    The system is solved by the conjugate gradient method for all channels and images together. Without a
    preconditioner, the number of steps is about the width of the largest hole. With `MultilevelPreconditioner` it is a
    few dozen, even for images that are hundreds of times as long as wide. Converged solutions do not change further, so
    an image does not depend on the other images.

    Source: Rong et al., "A Consistent and Efficient Evaluation Strategy for Attribution Methods", ICML 2022, section
    4.2. The preconditioner: Bramble, Pasciak and Xu, "Parallel Multilevel Preconditioners", Mathematics of Computation
    1990.

    Raises
    ------
    ConvergenceError
        If the solver does not converge.
    """
    values = images if images.dtype == torch.float64 else images.float()
    gaps = missing[:, None].to(values.dtype)
    known = 1 - gaps
    mean = dot(values, known) / dot(known, known).clamp(min=1)  # subtracting the mean reduces rounding errors
    rows, columns = (border_weights(gaps[:1], dim) for dim in (2, 3))
    degree = (4 * rows * columns - 1) / 3

    def system(x: Tensor) -> Tensor:  # degree * x - neighbors(x), as differences, which reduces rounding errors
        across = second_differences(x, 3)
        return gaps * (-4 / 3) * (rows * across + columns * second_differences(x, 2) + second_differences(across, 2))

    right = gaps * neighbors(known * (values - mean))
    solution = conjugate_gradients(system, right, MultilevelPreconditioner(gaps, known, degree))
    return torch.where(missing[:, None], (mean + solution).to(images.dtype), images)


def neighbors(values: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """Filter by `[1 2 1; 2 0 2; 1 2 1] / 12`, the weighted sum of the eight neighbors, with zeros beyond the border."""
    return (4 * binomial(values) - values) / 3


def binomial(values: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """Filter by `[1 2 1; 2 4 2; 1 2 1] / 16`, with zeros beyond the border."""
    rows = 2 * values
    rows[..., 1:, :] += values[..., :-1, :]
    rows[..., :-1, :] += values[..., 1:, :]
    both = 2 * rows
    both[..., 1:] += rows[..., :-1]
    both[..., :-1] += rows[..., 1:]
    return both / 16


def border_weights(like: Float[Tensor, "1 1 H W"], dim: int) -> Float[Tensor, "1 1 H W"]:
    """Return, along a dimension, the sum of the weights [1 2 1] / 4 whose pixels lie inside the image."""
    inside = torch.ones_like(like)
    inside.narrow(dim, 0, 1).sub_(0.25)
    inside.narrow(dim, like.shape[dim] - 1, 1).sub_(0.25)
    return inside


def second_differences(values: Float[Tensor, "N C H W"], dim: int) -> Float[Tensor, "N C H W"]:
    """Return the filter [1 -2 1] / 4 along a dimension, without the differences beyond the border."""
    steps, total = values.diff(dim=dim) / 4, torch.zeros_like(values)
    size = values.shape[dim] - 1
    total.narrow(dim, 0, size).add_(steps)
    total.narrow(dim, 1, size).sub_(steps)
    return total


class MultilevelPreconditioner:
    """Approximate inverse of the system: a sum over grids of restriction, division by a diagonal, and interpolation.

    Each grid halves both sides of the previous grid, down to a single cell. A side of one cell is not halved.
    Restriction is the transpose of bilinear interpolation. The basis function of a cell is a bilinear hat, set to
    zero at the known pixels. The diagonal is the value of the quadratic form of the system for this hat. It is the
    sum of the energy inside the hole and of the terms at the known neighbors of the hole's pixels.
    """

    def __init__(self, gaps: Tensor, known: Tensor, degree: Tensor) -> None:
        self._gaps, self._sums, self._scales = gaps, list[Tensor](), [gaps / degree.clamp(min=1e-12)]
        gap, boundary = gaps, gaps * neighbors(known)
        while max(gap.shape[2:]) > 1:
            self._sums.append(binomial(torch.ones_like(gap[:1])))
            level = len(self._sums)
            gap, boundary = self._coarser(gap, level), self._coarser(boundary, level)
            (value_y, slope_y), (value_x, slope_x) = (hat_integrals(cells, level) for cells in gap.shape[2:])
            diagonal = (slope_y * value_x + value_y * slope_x) / 3 * gap + value_y * value_x * boundary
            self._scales.append((gap > 0) / diagonal.clamp(min=1e-12))

    def __call__(self, residual: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Restrict the residual to all grids, scale it there, and add the interpolations."""
        residuals = [residual]
        for level in range(1, len(self._scales)):
            residuals.append(self._coarser(residuals[-1], level))
        total = residuals[-1] * self._scales[-1]
        for level in range(len(self._scales) - 1, 0, -1):
            total = self._finer(total, level) + residuals[level - 1] * self._scales[level - 1]
        return self._gaps * total

    def _finer(self, values: Tensor, level: int) -> Tensor:
        """Interpolate bilinearly from a grid to the next finer one."""
        sums = self._sums[level - 1]
        height, width = sums.shape[2:]
        return binomial(F.interpolate(values, scale_factor=2)[..., :height, :width]) / sums

    def _coarser(self, values: Tensor, level: int) -> Tensor:
        """Apply the transpose of the interpolation."""
        smooth = binomial(values / self._sums[level - 1])
        return 4 * F.avg_pool2d(F.pad(smooth, (0, smooth.shape[3] % 2, 0, smooth.shape[2] % 2)), 2)


def hat_integrals(cells: int, level: int) -> tuple[float, float]:
    """Return the integrals of h^2 and h'^2, divided by the integral of h, for a linear hat h of width 2^level.

    The hat of a single cell is constant.
    """
    return (1, 0) if cells == 1 else (2 / 3, 2 / 4**level)


def conjugate_gradients(
    system: Callable[[Tensor], Tensor], right: Float[Tensor, "N C H W"], inverse: Callable[[Tensor], Tensor]
) -> Float[Tensor, "N C H W"]:
    """Solve the system for each image and channel, starting from zero. Converged solutions do not change further.

    Parameters
    ----------
    system
        The linear map.
    right
        The right-hand sides.
    inverse
        The preconditioner.

    Raises
    ------
    ConvergenceError
        If a solution has not converged after `MAX_STEPS`.
    """
    solution = torch.zeros_like(right)
    residual, limit = right, TOLERANCE**2 * dot(right, right)
    direction = step = inverse(residual)
    slope, active = dot(residual, step), limit > 0
    all_converged = query_convergence(active)
    for number in range(1, MAX_STEPS + 1):
        mapped = system(direction)
        length = torch.where(active, slope / dot(direction, mapped), 0)
        solution, residual = solution + length * direction, residual - length * mapped
        active = active & (dot(residual, residual) > limit)
        if number % CHECK_EVERY == 0:
            if all_converged():
                break
            all_converged = query_convergence(active)
        step = inverse(residual)
        slope, previous_slope = dot(residual, step), slope
        direction = step + torch.where(active, slope / previous_slope, 0) * direction
    else:
        if active.any():
            raise ConvergenceError(
                f"the imputation of missing pixels did not converge in {MAX_STEPS} steps (usually, it needs a few "
                "dozen); pass the model and the images in float64"
            )
    return solution


def dot(a: Float[Tensor, "N C H W"], b: Float[Tensor, "N c H W"]) -> Float[Tensor, "N C 1 1"]:
    """Return the spatial inner product."""
    return (a * b).sum((2, 3), keepdim=True)


def query_convergence(active: Bool[Tensor, "N C 1 1"]) -> Callable[[], bool]:
    """Check whether all solutions have converged. Return a function that waits for the answer and returns it.

    If the function is called later, the transfer overlaps with work on the device.
    """
    any_active = active.any().reshape(1)
    if any_active.device.type != "cuda":
        return lambda: any_active.tolist() == [False]
    host = torch.empty(1, dtype=torch.bool, pin_memory=True).copy_(any_active, non_blocking=True)
    event = torch.cuda.Event()
    event.record()

    def all_converged() -> bool:
        event.synchronize()
        return host.tolist() == [False]

    return all_converged
