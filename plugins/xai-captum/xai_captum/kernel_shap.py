"""Kernel SHAP."""

from jaxtyping import Float
from torch import Tensor

import xai_core as xai
from xai_captum.attribution import CaptumScorer, ImageBlock
from xai_captum.patches import PatchAttribution
from xai_core.plugin import Baseline, OptionError, check_integer, check_seed


class KernelShap(PatchAttribution):
    """Kernel SHAP: the Shapley values of patches, as the weights of a linear model of the score.

    The linear model is fitted by weighted least squares to the scores of images that show random sets of patches. The
    sets are drawn from the Shapley kernel (theorem 2). With fewer samples than patches, the solution of minimum norm is
    used.

    Source: Lundberg and Lee, "A Unified Approach to Interpreting Model Predictions", NeurIPS 2017.

    Parameters
    ----------
    n_samples
        Number of sets of patches, including the full and the empty set.
    patch, baselines, channels
        See `PatchAttribution`.
    seed
        Random seed of the sets, which are the same for every image.
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
        self.n_samples = check_integer("n_samples", n_samples, 1)
        self.seed = check_seed(seed)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Require at least two patches. Request nothing."""
        if self.count(adapter) == 1:
            raise OptionError(
                f"kernel-shap requires at least two patches, got one for patch={self.patch} and an image of "
                f"{'x'.join(map(str, adapter.probe.size))} pixels; use a smaller patch"
            )
        return super().needs(adapter)

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        """Count one for each set, and one for the shared pass."""
        return 1 + self.n_samples

    def attribute(
        self, model: CaptumScorer, block: ImageBlock, adapter: xai.ModelAdapter
    ) -> Float[Tensor, "1 1 *size"]:
        """Fit the linear model of one image."""
        from captum import attr

        return self.ablated(attr.KernelShap, model, block, n_samples=self.n_samples)
