"""Faithfulness correlation."""

from xai_core.plugin import Baseline
from xai_faithfulness.removal import SubsetCorrelation


class FaithfulnessCorrelation(SubsetCorrelation):
    """Faithfulness correlation: whether the relevance of random pixels says how much the score loses without them.

    Pearson's correlation over random subsets of n pixels, or squares, of the sum of their relevance and of the loss of
    the logit where they take the image's mean color; n is by default as many as a row of the image has. In [-1, 1];
    1 and -1 for the exact contributions of a linear model and for their opposite, and 0 where there is no correlation,
    since the map or the model is constant. Higher is better.

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

    def sizes(self, grid: tuple[int, int]) -> list[int]:
        """As many as a row has."""
        return [grid[1]]
