"""RISE."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Baseline, check_integer, check_number
from xai_perturbation.masking import MaskScoring


class RISE(MaskScoring):
    """RISE: the mean of random masks, weighted by the score of the masked image.

        L = 1 / (N p) sum_i f(x * M_i) M_i    (eq. 6, where E[M] = p)

    A mask is an s x s grid of cells, each shown with probability p. With C = ceil(H / s), ceil(W / s), the grid is
    resized bilinearly to (s + 1) C pixels. Then it is cropped to the image at a random offset of up to C - 1 pixels
    (section 3.2). Beyond the centers of its outer cells the grid is mirrored, as in the authors' code. C is also
    rounded up as in this code, while the paper rounds down. A mask multiplies the normalized image. For volumes,
    the grid also has s cells along the depth.

    s = 7 and p = 0.5 are the values of the paper's experiments. The paper uses N = 4000 masks for VGG16 and
    8000 for ResNet-50.

    Source: Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018.

    Parameters
    ----------
    masks
        Number of masks N.
    cells
        Number of cells s along a side of the grid, at least 2.
    probability
        Probability p that a cell is shown, in (0, 1).
    score, baseline, seed
        See `MaskScoring`. The paper uses the baseline `zero`.
    """

    name = "rise"

    def __init__(
        self,
        masks: int = 4000,
        cells: int = 7,
        probability: float = 0.5,
        score: str = "probability",
        baseline: Baseline = "zero",
        seed: int = 0,
    ) -> None:
        super().__init__(score, baseline, seed)
        self.masks = check_integer("masks", masks, 1)
        self.cells = check_integer("cells", cells, 2)
        self.probability = check_number("probability", probability, above=0, below=1)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each mask."""
        return 1 + self.masks

    def relevance(self, captured: xai.Captured) -> Float[Tensor, "V B *size"]:
        """Average the masks, weighted by the scores of the masked images."""
        images, cells = captured.images, self.cells
        size = tuple(images.shape[2:])
        dims = len(size)
        dtype = torch.promote_types(images.dtype, torch.float32)
        generator = torch.Generator().manual_seed(self.seed)

        def masks(block: slice) -> Float[Tensor, "n *size"]:
            # drawn mask by mask on the host, so that the block size has no effect, and sent to the device together
            drawn = torch.rand(block.stop - block.start, dims + cells**dims, generator=generator, dtype=torch.float64)
            offsets = drawn[:, :dims] * torch.tensor([cell_size(cells, side) for side in size])
            sent = torch.cat([offsets.floor(), drawn[:, dims:] < self.probability], 1).to(dtype)
            sent = sent.to(images.device, non_blocking=True)
            weights = [cell_weights(cells, side, sent[:, axis]) for axis, side in enumerate(size)]
            return resized(sent[:, dims:].unflatten(1, (cells,) * dims), weights)

        weighted = images.new_zeros(captured.model_score.targets, len(images), *size, dtype=dtype)
        for block, scores in self.scores(captured, masks, self.masks):
            weighted += torch.tensordot(scores.to(dtype), block, 1)
        return weighted / (self.masks * self.probability)


def resized(grids: Float[Tensor, "n *cells"], weights: Sequence[Float[Tensor, "n _ _"]]) -> Float[Tensor, "n *size"]:
    """Resize grids of cells to images, with the weight [n,side,cells] of each cell in each pixel along each side."""
    *depth, rows, columns = weights
    if not depth:
        return rows @ grids @ columns.mT
    slices = rows[:, None] @ grids @ columns[:, None].mT
    return (depth[0] @ slices.flatten(2)).unflatten(2, slices.shape[2:])


def cell_size(cells: int, side: int) -> int:
    """Return C, the size of a cell in pixels along one side of the image."""
    return math.ceil(side / cells)


def cell_weights(cells: int, side: int, offset: Float[Tensor, " n"]) -> Float[Tensor, "n side cells"]:
    """Return the weight of each cell in each pixel along a side: bilinear resizing, cropped at `offset`."""
    resized = (cells + 1) * cell_size(cells, side)
    pixels = torch.arange(side, device=offset.device)
    position = (offset[:, None] + pixels + 0.5) * (cells / resized) - 0.5  # 0 is the center of the first cell
    last = cells - 1
    mirrored = last - (last - position.abs()).abs()
    return (1 - (mirrored[..., None] - torch.arange(cells, device=offset.device)).abs()).relu()
