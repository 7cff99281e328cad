"""Sensitivity-n."""

import math

from xai_faithfulness.removal import SubsetCorrelation

SHARE, POINTS = 0.8, 8


class SensitivityN(SubsetCorrelation):
    """Sensitivity-n: whether the relevance of any n pixels says how much the score loses without them.

    Pearson's correlation over random subsets of n pixels, or squares, of the sum of their relevance and of the loss of
    the logit where they are set to zero. Without n, the mean over 8 sizes from 1 to 80 % of the pixels in equal ratios,
    about the range over which the paper plots it. In [-1, 1]; 1 and -1 for the exact contributions of a linear model
    and for their opposite, and 0 where there is no correlation, since the map or the model is constant. Higher is
    better.

    Source: Ancona et al., "Towards better understanding of gradient-based attribution methods for Deep Neural
    Networks", ICLR 2018.
    """

    name = "sensitivity-n"
    higher_is_better = True

    def sizes(self, grid: tuple[int, int]) -> list[int]:
        """From one to most of the regions, in equal ratios."""
        most = max(1, SHARE * math.prod(grid))
        return sorted({round(most ** (i / (POINTS - 1))) for i in range(POINTS)})
