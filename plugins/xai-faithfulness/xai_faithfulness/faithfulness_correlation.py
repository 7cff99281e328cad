"""Faithfulness correlation."""

from xai_core.plugin import Baseline
from xai_faithfulness.removal import SubsetCorrelation


class FaithfulnessCorrelation(SubsetCorrelation):
    """Faithfulness correlation: the correlation of relevance and score drop over random sets of removed pixels.

    It is Pearson's correlation over random subsets of n pixels or squares. For each subset, the sum of its relevance is
    compared with the drop in the logit when the subset shows the image's mean color. By default, n is the image width
    in pixels. The value is in [-1, 1]. The exact contributions of a linear model score 1, and their opposite scores -1.
    If the map or the model is constant, the value is 0. Higher is better.

    Source: Bhatt et al., "Evaluating and Aggregating Feature-based Model Explanations", IJCAI 2020.
    """

    name = "faithfulness-correlation"
    higher_is_better = True

    def __init__(
        self,
        n: int | None = None,
        region: int = 1,
        samples: int = 100,
        baseline: Baseline = "mean",
        score: str = "logit",
        seed: int = 0,
    ) -> None:
        super().__init__(n, region, samples, baseline, score, seed)

    def sizes(self, grid: tuple[int, ...]) -> list[int]:
        """Return a single subset size: the width of the grid."""
        return [grid[1]]
