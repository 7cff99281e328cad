"""The order of a map's pixels, which several metrics follow."""

from jaxtyping import Int
from torch import Tensor

import xai_core as xai
from xai_core.plugin import Evaluation, ranks
from xai_faithfulness.regions import over_pixels, region_means


def ranks_of(
    evaluation: Evaluation, saliency: xai.Saliency, ties: str = "stable", seed: int = 0, region: int = 1
) -> Int[Tensor, "B H W"]:
    """The rank of each pixel, 0 for the most salient, or that of its square of side `region`; computed once for all.

    Squares are ranked by the mean of the map over them. The seed is that of random ties.
    """
    size = (saliency.values.shape[-2], saliency.values.shape[-1])
    return evaluation.once(
        ("ranks", saliency, region, ties, seed if ties == "random" else None),
        lambda: over_pixels(ranks(region_means(saliency.values, region), ties, seed), region, size),
    )
