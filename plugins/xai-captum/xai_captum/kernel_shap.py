"""Kernel SHAP."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import Part, Scored
from xai_captum.options import positive, seed_of
from xai_captum.patches import Patches
from xai_core.plugin import Baseline, OptionError


class KernelShap(Patches):
    """Kernel SHAP: the Shapley values of patches, as the weights of a linear model of the score.

    Fitted by weighted least squares to scores of images that show random sets of patches, drawn by the Shapley kernel
    (theorem 2). Of fewer samples than patches it is the smallest of many fits.

    Source: Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017.

    Parameters
    ----------
    n_samples
        Number of sets of patches, all and none among them.
    patch, baselines, channels
        As for `Patches`.
    seed
        Seed of the sets, which are the same for every image.
    """

    name = "kernel-shap"

    def __init__(
        self,
        n_samples: int = 200,
        patch: int | None = None,
        baselines: Baseline = "zero",
        seed: int = 0,
        channels: str = "positive",
    ) -> None:
        super().__init__(patch, baselines, channels)
        positive(n_samples=n_samples)
        self.n_samples = n_samples
        self.seed = seed_of(seed)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Nothing of the pass, as long as there are sets of patches between none and all."""
        if self.count(adapter) == 1:
            raise OptionError(
                f"kernel-shap needs at least two patches, and patch={self.patch} makes one of an image of "
                f"{adapter.probe.size[0]}x{adapter.probe.size[1]}"
            )
        return super().needs(adapter)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """One for each set, and the pass."""
        return 1 + self.n_samples

    def attribute(self, model: Scored, part: Part, adapter: xai.ModelAdapter) -> Float[Tensor, "1 1 H W"]:
        """Fit the linear model of one image."""
        from captum import attr

        return self.ablated(attr.KernelShap, model, part, n_samples=self.n_samples)
