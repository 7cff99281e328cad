"""Kernel SHAP."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import Part, Scored, positive
from xai_captum.patches import Patches


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
        baselines: xai.Baseline = "zero",
        seed: int = 0,
        channels: str = "positive",
    ) -> None:
        super().__init__(patch, baselines, channels)
        positive(n_samples=n_samples)
        self.n_samples = n_samples
        self.seed = seed

    def forwards(self, adapter: xai.ModelAdapter) -> int:
        """One for each set, and the pass."""
        return 1 + self.n_samples

    def attribute(self, model: Scored, part: Part, adapter: xai.ModelAdapter) -> Float[Tensor, "1 C H W"]:
        """Fit the linear model of one image."""
        from captum import attr

        return self.ablated(attr.KernelShap, model, part, n_samples=self.n_samples)
