"""Sensitivity-n."""

import math

from xai_faithfulness.removal import SubsetCorrelation

LARGEST_FRACTION, SIZES = 0.8, 8


class SensitivityN(SubsetCorrelation):
    """Sensitivity-n: the correlation of relevance and score drop over random sets of n removed pixels.

    It is Pearson's correlation over random subsets of n pixels or squares. For each subset, the sum of its relevance is
    compared with the drop in the logit when the subset is set to zero. By default, it is the mean over 8 geometrically
    spaced values of n, from 1 to 80 % of the pixels. This is about the range plotted in the paper. The value is in [-1,
    1]. The exact contributions of a linear model score 1, and their opposite scores -1. If the map or the model is
    constant, the value is 0. Higher is better.

    Source: Ancona et al., "Towards better understanding of gradient-based attribution methods for Deep Neural
    Networks", ICLR 2018.
    """

    name = "sensitivity-n"
    higher_is_better = True

    def sizes(self, grid: tuple[int, ...]) -> list[int]:
        """Return sizes from one region to most of the regions, geometrically spaced."""
        largest = max(1, LARGEST_FRACTION * math.prod(grid))
        return sorted({round(largest ** (i / (SIZES - 1))) for i in range(SIZES)})
