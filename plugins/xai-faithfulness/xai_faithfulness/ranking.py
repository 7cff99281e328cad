"""Ranks of the pixels of a map, which several metrics share."""

from jaxtyping import Int
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation, ranks
from xai_faithfulness.regions import expand_to_pixels, region_means

TIES = ("stable", "random")
"""Orders of equally salient pixels: by index, or random."""


def cached_ranks(
    evaluation: Evaluation, saliency: xai.Saliency, ties: str = "stable", seed: int = 0, region: int = 1
) -> Int[Tensor, "B *size"]:
    """Return the rank of each pixel or of its square, 0 for the most salient, computed once for all metrics.

    Parameters
    ----------
    evaluation
        The batch, which stores the ranks.
    saliency
        The maps.
    ties
        Order of equally salient pixels: `stable` (by index) or `random` (by `seed`).
    seed
        Random seed for the order of ties.
    region
        Side of the squares in pixels. Squares are ranked by the mean of the map over them.
    """
    size = tuple(saliency.values.shape[1:])
    return evaluation.once(
        ("ranks", saliency, region, ties, seed if ties == "random" else None),
        lambda: expand_to_pixels(ranks(region_means(saliency.values, region), ties, seed), region, size),
    )
