"""Shapley value sampling."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import Part, Scored
from xai_captum.options import positive, seed_of
from xai_captum.patches import Patches
from xai_core.plugin import Baseline


class ShapleyValueSampling(Patches):
    """Shapley value sampling: what each patch adds to the score, averaged over random orders of adding patches.

    The mean adds up to y(x) - y(x'), whatever the number of orders.

    Source: Castro, Gómez and Tejada, "Polynomial calculation of the Shapley value based on sampling", Computers &
    Operations Research 2009.

    Parameters
    ----------
    n_samples
        Number of orders.
    patch, baselines, channels
        As for `Patches`.
    seed
        Seed of the orders, which are the same for every image.
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
        positive(n_samples=n_samples)
        self.n_samples = n_samples
        self.seed = seed_of(seed)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One for each patch of each order, one for the baseline, and the pass."""
        return 2 + self.n_samples * self.count(adapter)

    def attribute(self, model: Scored, part: Part, adapter: xai.ModelAdapter) -> Float[Tensor, "1 1 H W"]:
        """Add patches in random orders."""
        from captum import attr

        return self.ablated(attr.ShapleyValueSampling, model, part, n_samples=self.n_samples)
