"""HSIC attribution method."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from xai_core.plugin import Baseline, check_integer
from xai_perturbation.grid_sensitivity import GridSensitivity


class HSIC(GridSensitivity):
    """HSIC attribution: the statistical dependence between the score and whether a cell of the image is visible.

        HSIC_i = 1 / (n-1)^2 tr(K_i H L H),    H = I - 1/n

        K_i[j,k] = 1/2 if cell i is equal in masks j and k, otherwise -1/2
        L[j,k]   = exp(-(y_j - y_k)^2 / (2 s^2)),    s the median distance between two scores

    Each cell is visible in a random half of the n masks, as in a Latin hypercube. y_j = f(x * M_j) is the score under
    mask j. The criterion is not negative: a cell that lowers the score and a cell that raises it are alike.

    The authors' code uses the median score as s, which depends on the zero of the score. The median distance is the
    usual choice for this criterion (Gretton et al., 2007).

    Source: Novello, Fel and Vigouroux, "Making Sense of Dependence: Efficient Black-box Explanations Using Dependence
    Measure", NeurIPS 2022.

    Parameters
    ----------
    masks
        Number of masks n, at least 2.
    cells, score, baseline, seed
        See `GridSensitivity`.
    """

    name = "hsic"

    def __init__(
        self,
        masks: int = 500,
        cells: int = 8,
        score: str = "probability",
        baseline: Baseline = "zero",
        seed: int = 0,
    ) -> None:
        super().__init__(cells, score, baseline, seed)
        self.masks = check_integer("masks", masks, 2)

    def count(self, cells: int) -> int:
        """Return n."""
        return self.masks

    def design(self, cells: int) -> Float[Tensor, "n cells"]:
        """Draw the masks: 1 for visible cells, 0 for hidden ones."""
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.rand(self.masks, cells, generator=generator).argsort(0)
        return (order < self.masks // 2).float()

    def grids(self, design: Float[Tensor, "n cells"], indices: Int[Tensor, " _"]) -> Float[Tensor, "_ cells"]:
        """Return rows of the design."""
        return design[indices]

    def sensitivity(
        self, design: Float[Tensor, "n cells"], scores: Float[Tensor, "V B n"]
    ) -> Float[Tensor, "V B cells"]:
        """Compute the criterion map by map, because each needs a matrix of n x n numbers."""
        criteria = [criterion(design, each) for each in scores.flatten(0, 1)]
        return torch.stack(criteria).unflatten(0, scores.shape[:2])


def criterion(design: Float[Tensor, "n cells"], scores: Float[Tensor, " n"]) -> Float[Tensor, " cells"]:
    """Return the dependence between scores and each column of binary numbers.

    The kernel of a column is K = s s^T / 2 with s = 2 m - 1. Therefore tr(K H L H) = (H s)^T L (H s) / 2.
    """
    signs = 2 * design - 1
    centered = signs - signs.mean(0)
    squared = (scores[:, None] - scores).square()
    width = squared.median()
    kernel = torch.exp(-squared / (2 * width.where(width > 0, 1)))
    return (centered * (kernel @ centered)).sum(0) / (2 * (len(scores) - 1) ** 2)
