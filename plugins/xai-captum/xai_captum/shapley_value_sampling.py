"""Shapley value sampling."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import CaptumScorer, ImageBlock
from xai_captum.patches import PatchAttribution
from xai_core.plugin import Baseline, check_integer, check_seed


class ShapleyValueSampling(PatchAttribution):
    """Shapley value sampling: the change in the score when a patch is added, averaged over random orders of patches.

    The attribution sums to y(x) - y(x') for any number of orders.

    Source: Castro, Gómez and Tejada, "Polynomial calculation of the Shapley value based on sampling", Computers &
    Operations Research 2009.

    Parameters
    ----------
    n_samples
        Number of orders.
    patch, baselines, channels
        See `PatchAttribution`.
    seed
        Random seed of the orders, which are the same for every image.
    """

    name = "shapley-value-sampling"

    def __init__(
        self,
        n_samples: int = 10,
        patch: int | None = None,
        baselines: Baseline = "zero",
        seed: int = 0,
        channels: str = "positive",
    ) -> None:
        super().__init__(patch, baselines, channels)
        self.n_samples = check_integer("n_samples", n_samples, 1)
        self.seed = check_seed(seed)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each patch of each order, one for the baseline, and one for the shared pass."""
        return 2 + self.n_samples * self.count(adapter)

    def attribute(
        self, model: CaptumScorer, block: ImageBlock, adapter: xai.ModelAdapter
    ) -> Float[Tensor, "1 1 *size"]:
        """Add patches in random orders."""
        from captum import attr

        return self.ablated(attr.ShapleyValueSampling, model, block, n_samples=self.n_samples)
