"""Base class of methods that measure how sensitive the score is to the cells of a grid."""

import math
from abc import abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Baseline, check_integer, resize
from xai_perturbation.masking import MaskScoring


class GridSensitivity(MaskScoring):
    """The sensitivity of the score to the cells of a grid, estimated from images under random masks.

    The grid divides each side of the image into equal parts, and a mask has one value for each cell. The map is resized
    from the grid to the image by linear interpolation.

    Parameters
    ----------
    cells
        Number of cells along a side of the image. For volumes, also along the depth.
    score, baseline, seed
        See `MaskScoring`.
    """

    def __init__(self, cells: int, score: str, baseline: Baseline, seed: int) -> None:
        super().__init__(score, baseline, seed)
        self.cells = check_integer("cells", cells, 2)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each mask."""
        return 1 + self.count(self.cells ** len(adapter.probe.size))

    def relevance(self, captured: xai.Captured) -> Float[Tensor, "V B *size"]:
        """Estimate the sensitivity to each cell from the scores of the masked images."""
        images = captured.images
        size = tuple(images.shape[2:])
        grid = (self.cells,) * len(size)
        dtype = torch.promote_types(images.dtype, torch.float32)
        design = self.design(math.prod(grid)).to(images.device, dtype, non_blocking=True)

        def masks(block: slice) -> Float[Tensor, "n *size"]:
            indices = torch.arange(block.start, block.stop, device=images.device)
            return enlarged(self.grids(design, indices).unflatten(1, grid), size)

        blocks = self.scores(captured, masks, self.count(math.prod(grid)))
        scores = torch.cat([scores.to(dtype) for _, scores in blocks], 2)
        sensitivity = self.sensitivity(design, scores)
        return resize(sensitivity.reshape(-1, *grid), size).unflatten(0, sensitivity.shape[:2])

    @abstractmethod
    def count(self, cells: int) -> int:
        """Return the number of masks for a grid with this number of cells."""

    @abstractmethod
    def design(self, cells: int) -> Float[Tensor, "N _"]:
        """Draw the random numbers from which the masks are made, on the host."""

    @abstractmethod
    def grids(self, design: Float[Tensor, "N _"], indices: Int[Tensor, " n"]) -> Float[Tensor, "n cells"]:
        """Return the value of each cell in the masks with these indices."""

    @abstractmethod
    def sensitivity(
        self, design: Float[Tensor, "N _"], scores: Float[Tensor, "V B count"]
    ) -> Float[Tensor, "V B cells"]:
        """Return the sensitivity to each cell, given the scores under all masks."""


def enlarged(grids: Float[Tensor, "n *grid"], size: tuple[int, ...]) -> Float[Tensor, "n *size"]:
    """Resize grids to images: each pixel has the value of the cell that contains it."""
    for axis, side in enumerate(size, start=1):
        cells = torch.arange(side, device=grids.device) * grids.shape[axis] // side
        grids = grids.index_select(axis, cells)
    return grids
