"""Sobol attribution method."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.quasirandom import SobolEngine

import xai_core as xai
from xai_core.plugin import Baseline, OptionError, check_integer
from xai_perturbation.grid_sensitivity import GridSensitivity


class Sobol(GridSensitivity):
    """Sobol attribution: the share of the score's variance under random masks in which a cell of the image takes part.

        S_i = E[ Var( f(x * M) | M without M_i ) ] / Var f(x * M)    (total Sobol index)
            ~ 1 / (2 N V) sum_j (f(A_j) - f(A_j with cell i of B_j))^2    (Jansen's estimator)

    A mask has independent values, uniform in [0, 1], for all cells. A and B are N masks each, from a scrambled Sobol
    sequence of 2 d dimensions for d cells. V is the variance of f(A). The index includes all interactions of the cell
    with other cells. It is not negative: a cell that lowers the score and a cell that raises it are alike.

    Source: Fel, Cadene, Chalvidal, Cord, Vigouroux and Serre, "Look at the Variance! Efficient Black-box Explanations
    with Sobol-based Sensitivity Analysis", NeurIPS 2021.

    Parameters
    ----------
    designs
        Number N of pairs of masks, at least 2. Powers of two cover the range of masks evenly.
    cells, score, baseline, seed
        See `GridSensitivity`.
    """

    name = "sobol"

    def __init__(
        self,
        designs: int = 32,
        cells: int = 8,
        score: str = "probability",
        baseline: Baseline = "zero",
        seed: int = 0,
    ) -> None:
        super().__init__(cells, score, baseline, seed)
        self.designs = check_integer("designs", designs, 2)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request nothing, and require a grid whose masks a Sobol sequence can generate."""
        cells = self.cells ** len(adapter.probe.size)
        if 2 * cells > SobolEngine.MAXDIM:
            raise OptionError(
                f"sobol supports at most {SobolEngine.MAXDIM // 2} cells, got cells={self.cells} along each side, "
                f"{cells} in total; use fewer cells"
            )
        return super().needs(adapter)

    def count(self, cells: int) -> int:
        """Return N for A, and N for each cell that is replaced."""
        return self.designs * (1 + cells)

    def design(self, cells: int) -> Float[Tensor, "N AB"]:
        """Draw A and B, next to each other."""
        return SobolEngine(2 * cells, scramble=True, seed=self.seed).draw(self.designs)

    def grids(self, design: Float[Tensor, "N AB"], indices: Int[Tensor, " n"]) -> Float[Tensor, "n cells"]:
        """Return rows of A: first unchanged, then with the first cell of B, the second, and so on."""
        a, b = design.chunk(2, 1)
        row, replaced = indices % self.designs, indices // self.designs - 1
        cell = torch.arange(a.shape[1], device=a.device)
        return torch.where(cell == replaced[:, None], b[row], a[row])

    def sensitivity(
        self, design: Float[Tensor, "N AB"], scores: Float[Tensor, "V B count"]
    ) -> Float[Tensor, "V B cells"]:
        """Estimate the total Sobol indices. They are zero if the score is constant."""
        by_cell = scores.unflatten(2, (-1, self.designs))
        unchanged, changed = by_cell[:, :, :1], by_cell[:, :, 1:]
        variance = unchanged.var(3)
        return (unchanged - changed).square().mean(3) / 2 / variance.where(variance > 0, 1)
