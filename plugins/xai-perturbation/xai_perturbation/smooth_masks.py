"""Masks with a minimum smoothness, generated from the values at the points of a grid."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

COLDNESS = 20
"""Inverse temperature of the smooth maximum."""
PLATEAU = 0.5
"""Distance up to which the kernel is 1, in units of its width."""


@dataclass(frozen=True)
class SmoothMasks:
    """The smooth maximum of kernels at the points of a grid, in the image and in a margin around it.

        m(u) = sum_v f_v exp(20 f_v) / sum_v exp(20 f_v),    f_v = p(v) k(|u - v| / sigma)
        k(z) = exp(-2 max(0, z - 1/2)^2)

    The sums are over the points v whose cell is at most 1 + ceil(sigma / cell) cells from the cell of pixel u, along
    each axis. The values p(v) are in [0, 1] in the image, and zero in the margin.

    Attributes
    ----------
    size
        Size of the image in pixels.
    cell
        Distance of neighboring points in pixels.
    sigma
        Width of the kernel in pixels.
    """

    size: tuple[int, ...]
    cell: int
    sigma: float

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of points in the image, along each side."""
        return tuple(-(-side // self.cell) for side in self.size)

    @property
    def margin(self) -> int:
        """Number of cells of the margin on each side, which is at least as wide as the kernel."""
        return -int(-self.sigma // self.cell)

    @property
    def reach(self) -> int:
        """Number of cells to each side of a pixel whose points contribute to its value."""
        return 1 + self.margin

    def inside(self, masks: Float[Tensor, "N *padded"]) -> Float[Tensor, "N *size"]:
        """Remove the margin of masks."""
        for axis, side in enumerate(self.size, 1):
            masks = masks.narrow(axis, self.margin * self.cell, side)
        return masks

    def __call__(self, values: Float[Tensor, "N *grid"]) -> Float[Tensor, "N *padded"]:
        """Return the masks with their margin. One row of points is added at a time, which bounds the memory."""
        dims = len(self.size)
        padded = F.pad(values, [self.margin + self.reach] * (2 * dims))
        kernel = self.kernel(values)
        total = norm = values.new_zeros(())
        for row in range(len(kernel)):
            terms = checkpoint(self.sums, padded, kernel[row], row, use_reentrant=False, preserve_rng_state=False)
            total, norm = total + terms[0], norm + terms[1]
        masks = total / (COLDNESS * norm)  # [*pixels of a cell,N,*cells]
        order = [
            dims,
            *(axis for pair in zip(range(dims + 1, 2 * dims + 1), range(dims), strict=True) for axis in pair),
        ]
        masks = masks.permute(order)
        for axis, side in enumerate(self.size, 1):
            masks = masks.flatten(axis, axis + 1).narrow(axis, 0, side + 2 * self.margin * self.cell)
        return masks

    def sums(
        self, padded: Float[Tensor, "N *points"], kernel: Float[Tensor, "..."], row: int
    ) -> tuple[Float[Tensor, "*pixels_N_cells"], Float[Tensor, "*pixels_N_cells"]]:
        """Return the sums of both terms over one row of points, [*pixels of a cell,N,*cells]."""
        dims, window = len(self.size), 2 * self.reach + 1
        points = padded.narrow(1, row, padded.shape[1] - window + 1)
        for axis in range(2, dims + 1):
            points = points.unfold(axis, window, 1)
        points = points.movedim(tuple(range(1 - dims, 0)), tuple(range(dims - 1))).contiguous()  # [*window,N,*cells]
        values = kernel * points
        weights = values.exp()
        windows = tuple(range(dims, 2 * dims - 1))
        return (values * weights).sum(windows), weights.sum(windows)

    def kernel(self, like: Float[Tensor, "..."]) -> Float[Tensor, "window ..."]:
        """Return the kernel, times the coldness: [row,*pixels of a cell,*rest of the window,1,...]."""
        dims, reach = len(self.size), self.reach
        pixels = torch.arange(self.cell, dtype=like.dtype, device=like.device)
        points = torch.arange(-reach, reach + 1, dtype=like.dtype, device=like.device) * self.cell
        squares = like.new_zeros(())
        for axis in range(dims):
            shape = [1] * (2 * dims)
            shape[axis + 1], shape[dims + axis if axis else 0] = len(pixels), len(points)
            offsets = points[:, None] - pixels if axis == 0 else pixels[:, None] - points
            squares = squares + offsets.square().view(shape)
        distances = squares.sqrt() / self.sigma
        kernel = COLDNESS * (-2 * (distances - PLATEAU).clamp_min(0).square()).exp()
        return kernel.view(*kernel.shape, *[1] * (dims + 1))
